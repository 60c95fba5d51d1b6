"""The figures: what each one counts, in words and in SQL, whose question it answers, and how it is made public."""

from dataclasses import dataclass
from enum import StrEnum

from services.outcomes.figures import counts, sources
from services.outcomes.figures.counts import AREA, CLASS, Count
from services.outcomes.figures.sources import Dimension, Source
from services.outcomes.figures.words import Text, both


class Unit(StrEnum):
    HOUSEHOLDS = "households"
    PEOPLE = "people"
    VISITS = "visits"
    PERCENT = "percent"
    RUPIAH = "rupiah"  # a person and month
    POINTS = "points"  # of 100
    LIVELIHOODS = "livelihoods"
    INTERVENTIONS = "interventions"
    BUSINESS_UNITS = "business_units"
    JOBS = "jobs"
    COOPERATIVES = "cooperatives"
    COHORTS = "cohorts"
    ROWS = "rows"
    MESSAGES = "messages"


class RuleKind(StrEnum):
    """Which rule decides what is counted."""

    COMPLETION = "completion"  # training's; the versions that were applied
    GRADUATION = "graduation"
    FOLLOW_UP_PLAN = "follow_up_plan"
    PUBLICATION = "publication"


@dataclass(frozen=True)
class Article:
    """Where the question comes from."""

    title: Text
    published: str


@dataclass(frozen=True)
class Shown:
    """How a figure is made from protected counts: `part`, less `less`, as percent of `over`."""

    part: Count
    less: Count | None = None
    over: Count | None = None

    @property
    def counts(self) -> tuple[Count, ...]:
        return tuple(count for count in (self.part, self.less, self.over) if count is not None)

    @property
    def by(self) -> tuple[Dimension, ...]:
        if self.part.of_each is not None:
            return (self.part.of_each,)
        everywhere = frozenset[str].intersection(*(count.by for count in self.counts))
        return tuple(dimension for name in (AREA, CLASS) if name in everywhere for dimension in _DIMENSIONS[name])


@dataclass(frozen=True)
class Average:
    """An average is shown where the count that it is of is shown."""

    of: Count


@dataclass(frozen=True)
class Open:
    """Says nothing of people: shown as it is."""


_DIMENSIONS = {
    AREA: (Dimension.KABUPATEN, Dimension.KECAMATAN),
    CLASS: (Dimension.COURSE, Dimension.MODE, Dimension.COHORT),
}


@dataclass(frozen=True)
class Figure:
    """`sql` gives the value and `of` how many it is about, over the rows of `source`, each as an aggregate."""

    id: str
    title: Text
    definition: Text
    answers: Article
    unit: Unit
    source: Source
    sql: str
    of: str = "count(*)"
    rule: RuleKind | None = None
    public: Shown | Average | Open | None = None
    parts: Count | None = None  # what its public breakdown by reason or kind is counted from
    not_by: tuple[Dimension, ...] = ()

    @property
    def by(self) -> tuple[Dimension, ...]:
        return tuple(name for name in self.source.by if name not in self.not_by)

    @property
    def public_by(self) -> tuple[Dimension, ...]:
        match self.public:
            case Shown():
                own = () if self.parts is None or self.parts.of_each is None else (self.parts.of_each,)
                return (*self.public.by, *own)
            case Average():
                return () if self.public.of.of_each is None else (self.public.of.of_each,)
            case Open():
                told = (Dimension.REASON, Dimension.SYSTEM)
                return tuple(name for name in told if name in self.by)[:1]
        return ()


# --- Where the questions come from ------------------------------------------------------------------------------------

COOPERATIVES_NEWS = Article(
    both(
        "Diklat Perencanaan Unit Usaha Koperasi di Basis-Basis Kantong Kemiskinan Ekstrem (P3KE) se-NTB;"
        " Tim KM Mataram",
        "Training of cooperative managers in pockets of extreme poverty of NTB; Tim KM Mataram",
    ),
    "2024-10-15",
)
LIFE_SKILLS_NEWS = Article(
    both(
        "Pelatihan kewirausahaan bagi sasaran P3KE se-NTB di UPTD Balatkop UKM NTB; SUMBAWAPost",
        "Training in life skills for people on the P3KE list of NTB; SUMBAWAPost",
    ),
    "2024-07-08",
)
BALATKOP_NEWS = Article(
    both(
        "600 UMKM dan Gerakan Koperasi Ditempa di Balatkop; Suara NTB",
        "600 entrepreneurs and cooperative people trained at Balatkop; Suara NTB",
    ),
    "2020-11-17",
)
MINISTRY_NEWS = Article(
    both(
        "Tekan Kemiskinan Ekstrem, KemenkopUKM Berdayakan Koperasi dan UMKM; Fortune Indonesia",
        "Against extreme poverty, the ministry strengthens cooperatives and small business; Fortune Indonesia",
    ),
    "2023-01-11",
)
MALAKA_NEWS = Article(
    both(
        "OASE dan Kemenkop Sinergi Program Pemberdayaan Masyarakat di Malaka; Obsession News",
        "OASE and the ministry join forces for the people of Malaka; Obsession News",
    ),
    "2018-09-19",
)
COMPLETION_REGULATION = Article(
    both(
        "Peraturan Menteri Ketenagakerjaan 6/2025, pasal 33 (kelulusan pelatihan)",
        "Regulation of the Minister of Manpower 6/2025, article 33 (passing a training)",
    ),
    "2025",
)
SATU_DATA = Article(
    both(
        "Peraturan Presiden 39/2019 tentang Satu Data Indonesia",
        "Presidential Regulation 39/2019 on One Data Indonesia",
    ),
    "2019",
)

# --- The targeting list -----------------------------------------------------------------------------------------------

_ALL = [
    Figure(
        "households_listed",
        both("Keluarga terdaftar", "Households listed"),
        both(
            "Keluarga (KK) yang sekarang ada dalam daftar sasaran yang diserahkan Bappeda. Daftar bukan jumlah"
            " sebenarnya orang miskin: setiap keluarga masih harus diverifikasi.",
            "Households that are on the targeting list handed over by the planning agency now. The list is not the"
            " real number of poor people: each household still has to be verified.",
        ),
        COOPERATIVES_NEWS,
        Unit.HOUSEHOLDS,
        sources.HOMES,
        counts.LISTED.sql,
        public=Shown(counts.LISTED),
    ),
    Figure(
        "people_listed",
        both("Jiwa terdaftar", "People listed"),
        both(
            "Semua anggota keluarga yang sekarang ada dalam daftar sasaran.",
            "All members of the households that are on the targeting list now.",
        ),
        COOPERATIVES_NEWS,
        Unit.PEOPLE,
        sources.HOMES,
        counts.LISTED_PEOPLE.sql,
        public=Shown(counts.LISTED_PEOPLE),
    ),
    Figure(
        "list_rows",
        both("Baris daftar diterima", "List rows received"),
        both(
            "Baris dalam semua berkas daftar sasaran yang diterima.",
            "Rows in all files of targeting lists that came in.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.ROWS,
        sources.LISTS,
        "coalesce(sum(s.rows), 0)::bigint",
        public=Open(),
    ),
    Figure(
        "list_rows_rejected",
        both("Baris daftar ditolak", "List rows rejected"),
        both(
            "Baris daftar sasaran yang tidak dapat dibaca, misalnya tanpa kode wilayah. Registri menyimpan alasan"
            " setiap baris.",
            "Rows of targeting lists that could not be read, for example without a region code. The registry keeps the"
            " reason of each row.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.ROWS,
        sources.LISTS,
        "coalesce(sum(s.rows_rejected), 0)::bigint",
        of="coalesce(sum(s.rows), 0)::bigint",
        public=Open(),
    ),
    # --- The field ----------------------------------------------------------------------------------------------------
    Figure(
        "nominated",
        both("Calon diusulkan", "People nominated"),
        both(
            "Orang yang pernah diusulkan sebagai calon peserta, dari daftar sasaran atau oleh kabupaten/kota.",
            "People who were ever considered for the programme, from the targeting list or by a kabupaten or kota.",
        ),
        BALATKOP_NEWS,
        Unit.PEOPLE,
        sources.PEOPLE,
        counts.NOMINATED.sql,
        public=Shown(counts.NOMINATED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "visited",
        both("Dikunjungi pendamping", "Visited by a facilitator"),
        both(
            "Calon yang rumahnya pernah dikunjungi tenaga pendamping, apa pun temuannya.",
            "Nominated people at whose door a facilitator has been, whatever was found.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PEOPLE,
        counts.VISITED.sql,
        public=Shown(counts.VISITED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "verified",
        both("Lolos verifikasi", "Verified"),
        both(
            "Calon yang pernah dinyatakan benar datanya dan layak oleh verifikasi lapangan, walaupun verifikasinya"
            " kemudian kedaluwarsa atau ia keluar.",
            "Nominated people whom the field ever found to be who the list says and eligible, even if the verification"
            " has expired since or they left.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PEOPLE,
        counts.VERIFIED.sql,
        public=Shown(counts.VERIFIED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "verified_now",
        both("Verifikasi masih berlaku", "Verified now"),
        both(
            "Calon yang verifikasinya berlaku saat ini. Keadaan orang berubah: verifikasi menua dan diulang.",
            "Nominated people whose verification holds at this moment. People's condition changes: a verification ages"
            " and is done again.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PEOPLE,
        counts.VERIFIED_NOW.sql,
        public=Shown(counts.VERIFIED_NOW),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "rejected",
        both("Calon ditolak", "People rejected"),
        both(
            "Calon yang tidak menjadi peserta, menurut alasan: temuan di lapangan, fakta catatan sipil, atau keputusan"
            " petugas.",
            "Nominated people who do not become participants, by reason: a finding at the door, a fact of the civil"
            " registry, or an officer's decision.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PEOPLE,
        counts.REJECTED.sql,
        public=Shown(counts.NOMINATED, less=counts.IN_PLAY),
        parts=counts.REJECTED_BY_REASON,
    ),
    # --- Training -----------------------------------------------------------------------------------------------------
    Figure(
        "cohorts",
        both("Angkatan", "Cohorts"),
        both(
            "Angkatan diklat yang direncanakan, berjalan atau selesai; yang dibatalkan tidak dihitung.",
            "Training cohorts that are planned, running or over; cancelled ones do not count.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.COHORTS,
        sources.COHORTS,
        "count(*)",
        public=Open(),
    ),
    Figure(
        "enrolled",
        both("Mendapat tempat diklat", "Enrolled in a training"),
        both(
            "Tempat diklat yang pernah diberikan kepada peserta. Yang hanya pernah dalam daftar tunggu tidak dihitung.",
            "Places in a training that participants ever had. Who was on a waitlist only does not count.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PLACEMENTS,
        counts.ENROLLED.sql,
        public=Shown(counts.ENROLLED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "confirmed",
        both("Memastikan hadir", "Confirmed"),
        both(
            "Peserta yang menyatakan akan datang, termasuk yang kemudian mundur.",
            "Participants who said that they would come, those who withdrew later included.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.PEOPLE,
        sources.PLACEMENTS,
        counts.CONFIRMED.sql,
        public=Shown(counts.CONFIRMED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "withdrawn",
        both("Mundur atau kehilangan tempat", "Withdrawn"),
        both(
            "Peserta yang melepas atau kehilangan tempatnya, menurut alasan; antara lain karena tidak dapat"
            " meninggalkan anak.",
            "Participants who gave up their place or lost it, by reason; among them those who cannot leave their"
            " children.",
        ),
        COOPERATIVES_NEWS,
        Unit.PEOPLE,
        sources.PLACEMENTS,
        counts.WITHDRAWN.sql,
        public=Shown(counts.ENROLLED, less=counts.KEPT),
        parts=counts.WITHDRAWN_BY_REASON,
    ),
    Figure(
        "completed",
        both("Menyelesaikan diklat", "Completed a training"),
        both(
            "Peserta yang memenuhi aturan kelulusan: hadir cukup, dan kompeten dalam semua unit yang menentukan.",
            "Participants who met the completion rule: enough attendance, and competent in every critical unit.",
        ),
        COMPLETION_REGULATION,
        Unit.PEOPLE,
        sources.PLACEMENTS,
        counts.COMPLETED.sql,
        rule=RuleKind.COMPLETION,
        public=Shown(counts.COMPLETED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "not_completed",
        both("Tidak lulus", "Did not complete"),
        both(
            "Peserta yang ikut sampai akhir tanpa memenuhi aturan kelulusan, menurut alasan.",
            "Participants who stayed to the end without meeting the completion rule, by reason.",
        ),
        COMPLETION_REGULATION,
        Unit.PEOPLE,
        sources.PLACEMENTS,
        counts.NOT_COMPLETED.sql,
        rule=RuleKind.COMPLETION,
        public=Shown(counts.JUDGED, less=counts.COMPLETED),
        parts=counts.NOT_COMPLETED_BY_REASON,
    ),
    Figure(
        "pass_rate",
        both("Tingkat kelulusan", "Pass rate"),
        both(
            "Yang menyelesaikan diklat dibanding semua yang ikut sampai akhir.",
            "Those who completed, of all who stayed to the end.",
        ),
        COMPLETION_REGULATION,
        Unit.PERCENT,
        sources.PLACEMENTS,
        f"round(100.0 * {counts.COMPLETED.sql} / nullif({counts.JUDGED.sql}, 0), 1)::float8",
        of=counts.JUDGED.sql,
        rule=RuleKind.COMPLETION,
        public=Shown(counts.COMPLETED, over=counts.JUDGED),
        not_by=(Dimension.REASON,),
    ),
    Figure(
        "test_gain",
        both("Kenaikan nilai tes", "Gain between tests"),
        both(
            "Rata-rata selisih nilai tes akhir dan tes awal, dari peserta lulus yang mengikuti keduanya (skala 0-100).",
            "The mean difference between post-test and pre-test, of those who completed and sat both (0 to 100).",
        ),
        BALATKOP_NEWS,
        Unit.POINTS,
        sources.CASES,
        "round(avg(f.post_test - f.pre_test), 1)::float8",
        of=counts.TESTED.sql,
        public=Average(counts.TESTED),
    ),
    # --- Cases and follow-ups -----------------------------------------------------------------------------------------
    Figure(
        "cases_open",
        both("Kasus dipantau", "Cases open"),
        both(
            "Peserta lulus yang keadaannya masih dipantau.",
            "People who completed a training and of whom we still ask what becomes of them.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.CASES,
        counts.OPEN.sql,
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.OPEN),
    ),
    Figure(
        "cases_closed",
        both("Kasus ditutup", "Cases closed"),
        both(
            "Kasus yang pemantauannya berakhir: semua kunjungan selesai atau terlewat, meninggal, bukan peserta lagi,"
            " atau datanya dihapus atas permintaan.",
            "Cases of which nothing more is asked: every follow-up was made or missed, the person died, is no"
            " participant any more, or was erased at their request.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.CASES,
        "count(*) FILTER (WHERE f.status = 'closed')",
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.OPENED, less=counts.OPEN),
    ),
    Figure(
        "follow_ups_scheduled",
        both("Kunjungan lanjutan dijadwalkan", "Follow-ups scheduled"),
        both(
            "Kunjungan menurut rencana yang berlaku, dihitung dari hari selesai diklat.",
            "Visits by the plan in force, counted from the day of completion.",
        ),
        MINISTRY_NEWS,
        Unit.VISITS,
        sources.FOLLOW_UPS,
        "count(*)",
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.SCHEDULED),
    ),
    Figure(
        "follow_ups_due",
        both("Menunggu kunjungan", "Waiting for a visit"),
        both(
            "Peserta yang kunjungan lanjutannya sudah jatuh tempo dan masih dalam batas waktu.",
            "People whose follow-up has fallen due and can still be made in time.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.FOLLOW_UPS,
        counts.DUE.sql,
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.DUE),
    ),
    Figure(
        "follow_ups_overdue",
        both("Kunjungan terlambat", "Overdue for a visit"),
        both(
            "Peserta yang kunjungannya terlewat tetapi kasusnya masih terbuka: masih dapat dicatat, sebagai terlambat.",
            "People whose follow-up was missed while their case is open: it may still be recorded, as late.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.FOLLOW_UPS,
        counts.OVERDUE.sql,
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.OVERDUE),
    ),
    Figure(
        "follow_ups_recorded",
        both("Kunjungan lanjutan tercatat", "Follow-ups recorded"),
        both(
            "Kunjungan yang hasilnya dicatat pendamping, tepat waktu atau terlambat.",
            "Visits whose result a facilitator recorded, in time or late.",
        ),
        MINISTRY_NEWS,
        Unit.VISITS,
        sources.FOLLOW_UPS,
        counts.RECORDED.sql,
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.RECORDED),
    ),
    Figure(
        "follow_ups_missed",
        both("Kunjungan terlewat", "Follow-ups missed"),
        both(
            "Kunjungan yang tidak dilakukan sampai batas waktunya dan belum dicatat sesudahnya.",
            "Visits that were not made by their last day and not recorded since.",
        ),
        MINISTRY_NEWS,
        Unit.VISITS,
        sources.FOLLOW_UPS,
        "count(*) FILTER (WHERE v.status = 'missed')",
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.SETTLED, less=counts.RECORDED),
    ),
    Figure(
        "followed_up",
        both("Pernah dikunjungi sesudah diklat", "Followed up"),
        both(
            "Peserta lulus dengan sedikitnya satu kunjungan lanjutan yang tercatat.",
            "People who completed a training and of whom at least one follow-up is recorded.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.CASES,
        counts.FOLLOWED_UP.sql,
        rule=RuleKind.FOLLOW_UP_PLAN,
        public=Shown(counts.FOLLOWED_UP),
    ),
    # --- Income and living --------------------------------------------------------------------------------------------
    Figure(
        "income_median",
        both("Median pendapatan per orang", "Median income per person"),
        both(
            "Pendapatan keluarga sebulan dibagi jumlah anggotanya, nilai tengah dari semua kunjungan. Untuk umum"
            " dibulatkan ke seribu rupiah.",
            "A household's income in a month, divided by its people; the middle one of all visits. In public it is"
            " rounded to a thousand rupiah.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.RUPIAH,
        sources.FOLLOW_UPS,
        "percentile_cont(0.5) WITHIN GROUP (ORDER BY v.per_person_rupiah)",
        of="count(v.per_person_rupiah)",
        rule=RuleKind.GRADUATION,
        public=Average(counts.RECORDED),
    ),
    Figure(
        "income_mean",
        both("Rata-rata pendapatan per orang", "Mean income per person"),
        both(
            "Pendapatan keluarga sebulan dibagi jumlah anggotanya, rata-rata semua kunjungan. Untuk umum dibulatkan ke"
            " seribu rupiah.",
            "A household's income in a month, divided by its people; the mean of all visits. In public it is rounded"
            " to a thousand rupiah.",
        ),
        LIFE_SKILLS_NEWS,
        Unit.RUPIAH,
        sources.FOLLOW_UPS,
        "avg(v.per_person_rupiah)::float8",
        of="count(v.per_person_rupiah)",
        rule=RuleKind.GRADUATION,
        public=Average(counts.RECORDED),
    ),
    Figure(
        "above_line",
        both("Di atas garis kemiskinan ekstrem", "At the line or above"),
        both(
            "Bagian kunjungan yang menemukan pendapatan per orang pada atau di atas garis kemiskinan ekstrem yang"
            " berlaku saat kunjungan.",
            "The share of visits that found an income per person at the extreme-poverty line in force that day or above"
            " it.",
        ),
        COOPERATIVES_NEWS,
        Unit.PERCENT,
        sources.FOLLOW_UPS,
        f"round(100.0 * {counts.ABOVE.sql} / nullif({counts.RECORDED.sql}, 0), 1)::float8",
        of=counts.RECORDED.sql,
        rule=RuleKind.GRADUATION,
        public=Shown(counts.ABOVE, over=counts.RECORDED),
    ),
    Figure(
        "above_line_now",
        both("Di atas garis pada kunjungan terakhir", "Above the line at the last visit"),
        both(
            "Peserta yang pada kunjungan terakhirnya berpendapatan per orang pada atau di atas garis kemiskinan"
            " ekstrem.",
            "People whose last visit found an income per person at the extreme-poverty line or above it.",
        ),
        COOPERATIVES_NEWS,
        Unit.PEOPLE,
        sources.CASES,
        counts.ABOVE_NOW.sql,
        of=counts.FOLLOWED_UP.sql,
        rule=RuleKind.GRADUATION,
        public=Shown(counts.ABOVE_NOW),
    ),
    Figure(
        "livelihoods",
        both("Sumber nafkah per keluarga", "Livelihoods per household"),
        both(
            "Rata-rata banyaknya jenis nafkah yang menghasilkan, pada kunjungan terakhir.",
            "The mean number of kinds of livelihood that bring something in, at the last visit.",
        ),
        MINISTRY_NEWS,
        Unit.LIVELIHOODS,
        sources.LAST_VISITS,
        "round(avg(v.livelihoods), 2)::float8",
        of="count(v.livelihoods)",
        rule=RuleKind.GRADUATION,
        public=Average(counts.FOLLOWED_UP),
    ),
    Figure(
        "needs_met_then",
        both("Kebutuhan dasar terpenuhi, awal", "Basic needs met, at first"),
        both(
            "Bagian keluarga yang kebutuhan dasarnya terpenuhi ketika pesertanya lulus, sejauh kondisi rumah"
            " memberitahukannya.",
            "The share of households whose basic need was met when the participant completed, as far as living"
            " conditions tell.",
        ),
        COOPERATIVES_NEWS,
        Unit.PERCENT,
        sources.NEEDS_THEN,
        f"round(100.0 * {counts.NEED_MET_THEN.sql} / nullif(count(*), 0), 1)::float8",
        public=Shown(counts.NEED_MET_THEN, over=counts.NEED_KNOWN_THEN),
    ),
    Figure(
        "needs_met_now",
        both("Kebutuhan dasar terpenuhi, terakhir", "Basic needs met, last"),
        both(
            "Bagian keluarga yang kebutuhan dasarnya terpenuhi pada kunjungan terakhir: makanan, air bersih, sanitasi,"
            " kesehatan, tempat tinggal, pendidikan, informasi.",
            "The share of households whose basic need was met at the last visit: food, clean water, sanitation, health,"
            " housing, education, information.",
        ),
        COOPERATIVES_NEWS,
        Unit.PERCENT,
        sources.NEEDS_NOW,
        f"round(100.0 * {counts.NEED_MET_NOW.sql} / nullif(count(*), 0), 1)::float8",
        rule=RuleKind.GRADUATION,
        public=Shown(counts.NEED_MET_NOW, over=counts.NEED_KNOWN_NOW),
    ),
    # --- What else was done -------------------------------------------------------------------------------------------
    Figure(
        "helped",
        both("Peserta yang didukung", "People supported"),
        both(
            "Peserta lulus yang menerima sedikitnya satu dukungan instansi lain: pendampingan, pembiayaan, pasar,"
            " bantuan, keanggotaan koperasi.",
            "People who completed a training and for whom another agency did something: mentoring, financing, market"
            " access, assistance, membership of a cooperative.",
        ),
        MINISTRY_NEWS,
        Unit.PEOPLE,
        sources.CASES,
        counts.HELPED.sql,
        public=Shown(counts.HELPED),
    ),
    Figure(
        "interventions",
        both("Dukungan yang diberikan", "Interventions"),
        both(
            "Dukungan yang dilaporkan instansi lain dan sudah jelas untuk peserta yang mana, menurut jenis.",
            "What other agencies reported to have done, and of which it is clear for whom, by kind.",
        ),
        MINISTRY_NEWS,
        Unit.INTERVENTIONS,
        sources.INTERVENTIONS,
        counts.INTERVENTIONS.sql,
        public=Shown(counts.INTERVENTIONS),
        parts=counts.INTERVENTIONS_BY_KIND,
    ),
    Figure(
        "reports_unmatched",
        both("Laporan belum dicocokkan", "Reports unmatched"),
        both(
            "Laporan dukungan yang menunggu petugas, karena NIK-nya tidak dikenal atau dipakai lebih dari satu orang.",
            "Reports of support that wait for an officer: nobody, or more than one person, bears the number.",
        ),
        MINISTRY_NEWS,
        Unit.INTERVENTIONS,
        sources.REPORTS,
        "count(*) FILTER (WHERE i.status = 'unmatched')",
    ),
    Figure(
        "business_units_planned",
        both("Unit usaha direncanakan", "Business units planned"),
        both(
            "Unit usaha koperasi yang direncanakan peserta diklat pengelola koperasi, termasuk yang sudah berjalan.",
            "Business units that trained cooperative managers planned, those that work by now included.",
        ),
        COOPERATIVES_NEWS,
        Unit.BUSINESS_UNITS,
        sources.BUSINESS_UNITS,
        counts.UNITS_PLANNED.sql,
        public=Shown(counts.UNITS_PLANNED),
    ),
    Figure(
        "business_units_launched",
        both("Unit usaha berjalan", "Business units launched"),
        both("Unit usaha yang sudah mulai bekerja.", "Business units that have begun to work."),
        COOPERATIVES_NEWS,
        Unit.BUSINESS_UNITS,
        sources.BUSINESS_UNITS,
        counts.UNITS_LAUNCHED.sql,
        public=Shown(counts.UNITS_LAUNCHED),
    ),
    Figure(
        "jobs",
        both("Lapangan kerja", "Jobs"),
        both(
            "Orang yang bekerja di unit usaha saat unit itu mulai berjalan.",
            "People who worked in the business units when these were launched.",
        ),
        BALATKOP_NEWS,
        Unit.JOBS,
        sources.BUSINESS_UNITS,
        "coalesce(sum(b.jobs), 0)::bigint",
        of=counts.UNITS_LAUNCHED.sql,
        public=Average(counts.UNITS_LAUNCHED),
    ),
    Figure(
        "cooperatives",
        both("Koperasi dikenal", "Cooperatives known"),
        both(
            "Koperasi yang rapat anggota tahunannya dilaporkan, atau yang menerima peserta sebagai anggota.",
            "Cooperatives whose annual meeting was reported, or that took participants in.",
        ),
        COOPERATIVES_NEWS,
        Unit.COOPERATIVES,
        sources.COOPERATIVES,
        "count(*)",
        public=Open(),
    ),
    Figure(
        "cooperatives_active",
        both("Koperasi aktif", "Cooperatives active"),
        both(
            "Koperasi dengan rapat anggota tahunan (RAT) dalam 18 bulan terakhir; UU 25/1992 pasal 26 meminta"
            " sedikitnya sekali setahun.",
            "Cooperatives whose last annual members' meeting was held in the last 18 months; law 25/1992, article 26"
            " asks for one a year at least.",
        ),
        BALATKOP_NEWS,
        Unit.COOPERATIVES,
        sources.COOPERATIVES,
        "count(*) FILTER (WHERE k.meeting_held_on >= {active_since})",
        public=Open(),
    ),
    Figure(
        "members_recruited",
        both("Peserta menjadi anggota koperasi", "Members recruited"),
        both(
            "Peserta program yang diterima koperasi sebagai anggota.",
            "Participants of the programme whom cooperatives took in as members.",
        ),
        COOPERATIVES_NEWS,
        Unit.PEOPLE,
        sources.COOPERATIVES,
        counts.RECRUITED.sql,
        public=Shown(counts.RECRUITED),
    ),
    # --- Out of extreme poverty ---------------------------------------------------------------------------------------
    Figure(
        "graduated",
        both("Pernah lulus dari kemiskinan ekstrem", "Graduated"),
        both(
            "Keluarga peserta yang pernah memenuhi aturan graduasi: pendapatan, sumber nafkah dan kebutuhan dasar pada"
            " beberapa kunjungan berturut-turut. Satu kali per peserta.",
            "Participants' households that ever met the graduation rule: income, livelihoods and basic needs at several"
            " follow-ups in a row. Once a participant.",
        ),
        MINISTRY_NEWS,
        Unit.HOUSEHOLDS,
        sources.CASES,
        counts.GRADUATED.sql,
        of=counts.FOLLOWED_UP.sql,
        rule=RuleKind.GRADUATION,
        public=Shown(counts.GRADUATED),
    ),
    Figure(
        "graduated_now",
        both("Sekarang di luar kemiskinan ekstrem", "Out of extreme poverty now"),
        both(
            "Keluarga peserta yang lulus dan sejauh diketahui tidak jatuh kembali.",
            "Participants' households that graduated and have not, as far as is known, fallen back.",
        ),
        COOPERATIVES_NEWS,
        Unit.HOUSEHOLDS,
        sources.CASES,
        counts.GRADUATED_NOW.sql,
        of=counts.FOLLOWED_UP.sql,
        rule=RuleKind.GRADUATION,
        public=Shown(counts.GRADUATED_NOW),
    ),
    Figure(
        "relapsed",
        both("Pernah jatuh kembali", "Relapsed"),
        both(
            "Keluarga peserta yang sesudah lulus pernah kembali di bawah garis. Mereka dapat lulus lagi.",
            "Participants' households that fell below the line again after they had graduated. They may graduate"
            " again.",
        ),
        MINISTRY_NEWS,
        Unit.HOUSEHOLDS,
        sources.CASES,
        counts.RELAPSED.sql,
        of=counts.GRADUATED.sql,
        rule=RuleKind.GRADUATION,
        public=Shown(counts.RELAPSED),
    ),
    # --- What partners reported and could not be taken ----------------------------------------------------------------
    Figure(
        "messages_rejected",
        both("Pesan mitra ditolak", "Partner messages rejected"),
        both(
            "Pesan Dukcapil dan dinas koperasi yang tidak dapat diterima; disimpan tersegel 90 hari, dan pengirim"
            " diberi tahu alasannya.",
            "Messages of the civil registry and of the agency for cooperatives that could not be taken in; kept"
            " sealed for 90 days, and the sender is told why.",
        ),
        SATU_DATA,
        Unit.MESSAGES,
        sources.REJECTIONS,
        "count(*)",
        public=Open(),
    ),
    Figure(
        "message_faults",
        both("Alasan pesan ditolak", "Why messages were rejected"),
        both(
            "Kesalahan dalam pesan yang ditolak, menurut alasan; satu pesan dapat memuat beberapa.",
            "What was wrong in messages that were rejected, by reason; a message may hold several faults.",
        ),
        SATU_DATA,
        Unit.MESSAGES,
        sources.FAULTS,
        "count(*)",
        public=Open(),
    ),
]

FIGURES: dict[str, Figure] = {figure.id: figure for figure in _ALL}
