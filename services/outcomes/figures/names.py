"""What the parts of figures are called: reasons, kinds, needs, modes, sectors, and what was wrong with messages."""

from services.outcomes.figures.sources import Dimension
from services.outcomes.figures.words import Text, both

DIMENSIONS = {
    Dimension.KABUPATEN: both("kabupaten/kota", "kabupaten or kota"),
    Dimension.KECAMATAN: both("kecamatan", "kecamatan"),
    Dimension.COURSE: both("jenis diklat", "course"),
    Dimension.MODE: both("cara penyampaian", "mode of delivery"),
    Dimension.COHORT: both("angkatan", "cohort"),
    Dimension.FOLLOW_UP: both("kunjungan ke-", "follow-up"),
    Dimension.REASON: both("alasan", "reason"),
    Dimension.NEED: both("kebutuhan", "need"),
    Dimension.KIND: both("jenis", "kind"),
    Dimension.SYSTEM: both("sistem pengirim", "sending system"),
    Dimension.LIST: both("daftar", "list"),
}

WORDS = {
    # Why somebody does not become a participant
    "duplicate": both("terdaftar dua kali", "listed twice"),
    "moved": both("pindah", "moved away"),
    "deceased": both("meninggal", "deceased"),
    "address_not_found": both("alamat tidak ditemukan", "address not found"),
    "person_not_found": both("orang tidak ditemukan", "person not found"),
    "nik_not_registered": both("NIK tidak terdaftar", "NIK not registered"),
    "civil_servant_military_police": both("ASN, TNI atau Polri", "civil servant, military or police"),
    "not_willing": both("tidak bersedia", "not willing"),
    "not_eligible": both("tidak memenuhi syarat", "not eligible"),
    # Why a place was given up or lost
    "cannot_leave_children": both("tidak dapat meninggalkan anak", "cannot leave the children"),
    "not_confirmed": both("tidak memastikan hadir", "did not confirm"),
    "verification_expired": both("verifikasi kedaluwarsa", "verification expired"),
    "no_longer_eligible": both("tidak lagi memenuhi syarat", "no longer eligible"),
    "illness": both("sakit", "illness"),
    "work": both("bekerja", "work"),
    "other": both("lainnya", "other"),
    # Why a training was not completed
    "attendance_too_low": both("kehadiran kurang", "attendance too low"),
    "not_competent": both("belum kompeten", "not yet competent"),
    # Interventions
    "mentoring": both("pendampingan", "mentoring"),
    "financing": both("pembiayaan", "financing"),
    "market_access": both("akses pasar", "market access"),
    "assistance": both("bantuan sosial", "social assistance"),
    "cooperative_membership": both("keanggotaan koperasi", "membership of a cooperative"),
    "nobody_bears_the_number": both("NIK tidak dikenal", "nobody bears the number"),
    "several_bear_the_number": both("NIK dipakai beberapa orang", "several bear the number"),
    "not_a_participant": both("bukan peserta", "not a participant"),
    "reported_twice": both("dilaporkan dua kali", "reported twice"),
    "reported_in_error": both("salah lapor", "reported in error"),
    # The seven needs
    "food": both("makanan", "food"),
    "clean_water": both("air bersih", "clean water"),
    "sanitation": both("sanitasi", "sanitation"),
    "health": both("kesehatan", "health"),
    "housing": both("tempat tinggal", "housing"),
    "education": both("pendidikan", "education"),
    "information": both("informasi", "information"),
    # Classes
    "classroom": both("di kelas", "in class"),
    "on_site": both("on the spot", "on the spot"),
    "planned": both("direncanakan", "planned"),
    "running": both("berjalan", "running"),
    "completed": both("selesai", "over"),
    "cancelled": both("dibatalkan", "cancelled"),
    # Sectors of business units
    "trade": both("perdagangan", "trade"),
    "farming": both("pertanian", "farming"),
    "fishery": both("perikanan", "fishery"),
    "crafts": both("kerajinan", "crafts"),
    "services": both("jasa", "services"),
    "savings_and_loan": both("simpan pinjam", "savings and loan"),
    # Systems
    "dukcapil": both("Dukcapil", "civil registry (Dukcapil)"),
    "dinkop": both("dinas koperasi dan UMKM", "agency for cooperatives and small business"),
}

OTHER_FAULT = "something else"

FAULTS = {
    "is not a NIK of 16 digits": both("NIK bukan 16 angka", "the NIK has not 16 digits"),
    "lies in the future": both("tanggal di masa depan", "a date in the future"),
    "is not above 0": both("jumlah tidak di atas 0", "an amount that is not above 0"),
    "is not a code in capitals": both("skema bukan kode huruf besar", "a scheme that is no code in capitals"),
    "is not a cooperative's number": both("bukan nomor koperasi", "no cooperative's number"),
    "is not a name": both("bukan nama", "not a name"),
    "is no village or kecamatan that is known here": both(
        "kode wilayah tidak dikenal", "a region code that is not known"
    ),
    "is not a Kemendagri code": both("bukan kode Kemendagri", "no region code of the ministry"),
    "is not a village's code": both("bukan kode desa", "no village's code"),
    "is not in the list of areas": both("desa tidak dikenal", "a village that is not known"),
    "no person with this national id is listed": both("NIK tidak ada dalam daftar", "a NIK that is not listed"),
    "several listed persons bear this national id": both(
        "NIK dipakai beberapa orang dalam daftar", "a NIK that several listed people bear"
    ),
    "this person is not the head of a listed household": both(
        "bukan kepala keluarga terdaftar", "not the head of a listed household"
    ),
    "is not 1.0": both("bukan CloudEvents 1.0", "not CloudEvents 1.0"),
    "is not the source that this topic belongs to": both("sumber pesan salah", "a wrong source"),
    "is missing, too long, or could be a national id": both(
        "id pesan kosong, terlalu panjang, atau mungkin NIK", "no id, too long a one, or one that could be a NIK"
    ),
    "is not a type that this topic carries": both("jenis pesan tidak dikenal", "a type of message that is not known"),
    "is not an RFC 3339 instant": both("waktu tidak terbaca", "a time that cannot be read"),
    "is no business year before the meeting": both(
        "tahun buku bukan sebelum rapat", "no business year before the meeting"
    ),
    "The body is no valid JSON": both("isi pesan bukan JSON", "a message that is no JSON"),
    "the message has no value, which would mean a deletion": both("pesan tanpa isi", "a message without a value"),
    "Field required": both("isian wajib kosong", "a field is missing"),
    OTHER_FAULT: both("kesalahan lain", "something else"),
}
"""What is wrong is told in public in these words alone: a reason of any other form might repeat what was sent."""


TERMS = {
    "months": both("kunjungan, dalam bulan sesudah selesai", "visits, in months after completion"),
    "missed_after_days": both("hari sampai kunjungan dianggap terlewat", "days until a visit counts as missed"),
    "line_rupiah_per_person_month": both("garis per orang dan bulan", "line for each person and month"),
    "follow_ups_in_a_row": both("kunjungan berturut-turut", "follow-ups in a row"),
    "minimum_livelihoods": both("sumber nafkah, sedikitnya", "livelihoods, at least"),
    "needs_required": both("kebutuhan yang harus terpenuhi", "needs that have to be met"),
    "not_before_months": both(
        "paling cepat, dalam bulan sesudah selesai", "at the earliest, in months after completion"
    ),
    "smallest_cell": both("jumlah orang terkecil yang ditampilkan", "smallest number of people that is shown"),
}
"""What the terms of rules are called."""


def term(name: str) -> Text:
    return TERMS.get(name) or both(name, name)


def told_in_public(fault: str) -> str:
    return fault if fault in FAULTS else OTHER_FAULT


def name_of(part: str) -> Text:
    """In words; as it is where there are none yet."""
    return WORDS.get(part) or FAULTS.get(part) or both(part, part)
