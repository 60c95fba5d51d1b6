"""What the page says, in both languages. Names and definitions of figures stand with the figures."""

from services.outcomes.figures.words import Text, both

TEXTS: dict[str, Text] = {
    "language": both("id", "en"),
    "other_language": both("English", "Bahasa Indonesia"),
    "skip": both("Langsung ke isi", "Skip to the content"),
    "site": both("Pemantauan pengentasan kemiskinan ekstrem", "Monitoring the way out of extreme poverty"),
    "place": both("Nusa Tenggara Barat", "Nusa Tenggara Barat"),
    "title": both(
        "Dari daftar sasaran sampai keluar dari kemiskinan ekstrem", "From the list to a life out of extreme poverty"
    ),
    "lede.listed": both("keluarga terdaftar dalam kemiskinan ekstrem.", "households are listed as extremely poor."),
    "lede.trained": both("orang mendapat tempat diklat,", "people got a place in a training,"),
    "lede.completed": both("menyelesaikannya,", "completed it,"),
    "lede.graduated_now": both(
        "keluarga kini hidup di luar kemiskinan ekstrem.", "households now live out of extreme poverty."
    ),
    "lede.graduated": both(
        "keluarga pernah lulus dari kemiskinan ekstrem.", "households have come out of extreme poverty."
    ),
    "lede.and": both("dan", "and"),
    "as_of": both("Keadaan", "As of"),
    "log_position": both("log hasil, peristiwa", "log of outcomes, event"),
    "live": both("langsung", "live"),
    "live.off": both("pembaruan berhenti", "updates paused"),
    "hidden": both("disembunyikan", "hidden"),
    "none": both("belum ada", "none yet"),
    "hidden.note": both(
        "Tanda ··· berarti angka disembunyikan, supaya tidak ada kelompok di bawah {n} orang yang dapat dikenali,"
        " juga tidak dengan mengurangkan angka lain. Nol ditampilkan.",
        "The sign ··· means that a number is hidden, so that no group of fewer than {n} people can be made out, not"
        " even by subtracting other numbers. Zeros are shown.",
    ),
    "how": both("Dari mana angka ini?", "How do we know?"),
    "how.title": both("Dari mana angka ini", "How we know this number"),
    "how.definition": both("Yang dihitung", "What is counted"),
    "how.article": both("Pertanyaan dari", "Answers"),
    "how.rule": both("Aturan yang menentukan", "The rule that decides"),
    "how.no_rule": both("Tidak ada: hitungan langsung dari peristiwa.", "None: it is counted from the events."),
    "how.rule_missing": both("Belum ada yang ditetapkan.", "None was adopted yet."),
    "how.version": both("versi", "version"),
    "how.adopted": both("berlaku sejak", "in force since"),
    "how.applied_by_training": both("diterapkan oleh layanan diklat", "applied by the training service"),
    "how.positions": both("Berdiri di atas", "Stands on"),
    "how.api": both("Alamat data", "The data's address"),
    "how.exact": both(
        "Petugas, kabupaten dan auditor melihat angka tepatnya dengan token:",
        "Officers, districts and auditors see the exact figure with a token:",
    ),
    "how.by": both("Menurut {dimension}", "By {dimension}"),
    "how.more": both("Selengkapnya", "In full"),
    "how.whole": both("seluruh program", "the whole programme"),
    "positions.own": both(
        "Log layanan hasil, tersegel sampai peristiwa {sequence}", "The log of outcomes, sealed up to event {sequence}"
    ),
    "positions.none": both("Log layanan hasil, belum ada yang tersegel", "The log of outcomes, nothing sealed yet"),
    "positions.waiting": both("{count} peristiwa sedang disegel", "{count} events are being sealed"),
    "positions.topic": both("Topik", "Topic"),
    "positions.partition": both("Partisi", "Partition"),
    "positions.offset": both("Posisi berikut", "Next offset"),
    "positions.sequence": both("Peristiwa terakhir", "Last sequence"),
    "positions.caption": both("Peristiwa layanan lain yang sudah dibaca", "Events of other services that are read"),
    "positions.root": both("Akar pohon Merkle", "Root of the Merkle tree"),
    "funnel.title": both("Perjalanan", "The way"),
    "funnel.intro": both(
        "Setiap langkah menghitung orang yang pernah mencapainya. Buka satu baris untuk melihat dari mana angkanya.",
        "Each step counts who ever reached it. Open a line to see where its number comes from.",
    ),
    "funnel.list": both("Daftar", "The list"),
    "funnel.field": both("Lapangan", "The field"),
    "funnel.training": both("Diklat dan sesudahnya", "Training and after"),
    "map.title": both("Kabupaten dan kota", "Kabupaten and kota"),
    "map.intro": both(
        "Letak kotak mengikuti peta Lombok dan Sumbawa. Pilih satu untuk melihat kecamatannya.",
        "The tiles lie as the places do on Lombok and Sumbawa. Choose one to see its kecamatan.",
    ),
    "map.show": both("Tampilkan", "Show"),
    "map.lombok": both("Pulau Lombok", "Lombok"),
    "map.sumbawa": both("Pulau Sumbawa", "Sumbawa"),
    "map.elsewhere": both("Di luar NTB", "Outside NTB"),
    "map.caption": both("Angka menurut kabupaten dan kota", "Figures by kabupaten and kota"),
    "map.kecamatan_caption": both("Angka menurut kecamatan", "Figures by kecamatan"),
    "map.kecamatan": both("Kecamatan", "Kecamatan"),
    "map.scale": both("Dari sedikit ke banyak", "From few to many"),
    "area": both("Wilayah", "Area"),
    "whole": both("Seluruhnya", "In all"),
    "unknown_area": both("kecamatan tidak diketahui", "kecamatan not known"),
    "cohorts.title": both("Angkatan", "Cohorts"),
    "cohorts.intro": both(
        "Tempat yang diberikan, yang selesai, dan yang keluarganya sudah lulus dari kemiskinan ekstrem.",
        "Places that were given, who completed, and whose households have graduated since.",
    ),
    "cohorts.caption": both("Angkatan diklat", "Training cohorts"),
    "cohorts.number": both("Angkatan", "Cohort"),
    "cohorts.none": both("Belum ada angkatan.", "There is no cohort yet."),
    "income.title": both("Pendapatan terhadap garis", "Income against the line"),
    "income.intro": both(
        "Pendapatan keluarga per orang dan bulan pada setiap kunjungan. Garis kemiskinan ekstrem: {line}.",
        "Income of a household for each person and month, at each follow-up. The extreme-poverty line: {line}.",
    ),
    "income.no_line": both(
        "Pendapatan keluarga per orang dan bulan pada setiap kunjungan.",
        "Income of a household for each person and month, at each follow-up.",
    ),
    "income.caption": both("Pendapatan per orang pada setiap kunjungan", "Income per person at each follow-up"),
    "income.line": both("garis", "line"),
    "income.none": both("Belum ada kunjungan yang tercatat.", "No follow-up is recorded yet."),
    "months": both("{n} bulan", "{n} months"),
    "month": both("1 bulan", "1 month"),
    "followups.title": both("Kunjungan lanjutan", "Follow-ups"),
    "followups.intro": both(
        "Pendamping datang lagi menurut rencana. Yang terlewat tetap terlihat.",
        "Facilitators come again by the plan. What is missed stays visible.",
    ),
    "followups.caption": both("Kunjungan menurut bulan sesudah selesai", "Visits by months after completion"),
    "followups.after": both("Sesudah selesai", "After completion"),
    "graduation.title": both("Lulus dan jatuh kembali", "Graduations and relapses"),
    "graduation.rule": both(
        "Lulus berarti: pendapatan per orang sedikitnya {line}, sedikitnya {livelihoods} sumber nafkah dan terpenuhinya"
        " {needs}, pada {times} kunjungan berturut-turut, paling cepat {months} bulan sesudah diklat.",
        "To graduate means: an income per person of at least {line}, at least {livelihoods} livelihoods, and {needs}"
        " met, at {times} follow-ups in a row, {months} months after the training at the earliest.",
    ),
    "needs.title": both("Kebutuhan dasar", "Basic needs"),
    "needs.intro": both(
        "Bagian keluarga yang kebutuhannya terpenuhi: ketika pesertanya lulus diklat, dan pada kunjungan terakhir.",
        "The share of households whose need is met: when the participant completed, and at the last visit.",
    ),
    "needs.caption": both("Tujuh kebutuhan dasar", "The seven basic needs"),
    "needs.need": both("Kebutuhan", "Need"),
    "needs.then": both("Awal", "At first"),
    "needs.now": both("Terakhir", "Last"),
    "support.title": both("Dukungan sesudah diklat", "Support after training"),
    "support.intro": both(
        "Yang dilaporkan instansi lain, dan yang direncanakan pengelola koperasi.",
        "What other agencies report, and what cooperative managers plan.",
    ),
    "support.caption": both("Dukungan menurut jenis", "Interventions by kind"),
    "support.kind": both("Jenis", "Kind"),
    "rejected.title": both("Yang ditolak, dan mengapa", "What was rejected, and why"),
    "rejected.intro": both(
        "Tidak ada yang hilang diam-diam: setiap penolakan mempunyai alasan.",
        "Nothing is lost in silence: every rejection has a reason.",
    ),
    "rejected.reason": both("Alasan", "Reason"),
    "rejected.system": both("Sistem pengirim", "Sending system"),
    "rejected.no_faults": both("Belum ada pesan yang ditolak.", "No message was rejected."),
    "rejected.data": both("Data yang ditolak", "Data that was rejected"),
    "basis.title": both("Dasar angka", "What the figures stand on"),
    "basis.intro": both(
        "Setiap angka dihitung dari peristiwa yang tercatat dan tersegel, semuanya pada satu saat yang sama.",
        "Every figure is counted from events that are recorded and sealed, all of them at one and the same moment.",
    ),
    "basis.rules": both("Aturan yang berlaku", "Rules in force"),
    "basis.rule": both("Aturan", "Rule"),
    "basis.source": both("Sumber", "Source"),
    "basis.since": both("Sejak", "Since"),
    "basis.none": both("Belum ada aturan yang ditetapkan.", "No rule was adopted yet."),
    "basis.data": both("Data terbuka", "Open data"),
    "basis.data_text": both(
        "Semua angka halaman ini tersedia tanpa kata sandi sebagai JSON:",
        "All figures of this page are there as JSON, without a password:",
    ),
    "rule.completion": both("kelulusan diklat", "completion"),
    "rule.graduation": both("graduasi", "graduation"),
    "rule.follow_up_plan": both("rencana kunjungan", "follow-up plan"),
    "rule.publication": both("publikasi", "publication"),
    "short.households_listed": both("Keluarga", "Households"),
    "short.verified": both("Lolos verifikasi", "Verified"),
    "short.enrolled": both("Ikut diklat", "Enrolled"),
    "short.completed": both("Selesai diklat", "Completed"),
    "short.graduated_now": both("Di luar kemis\u00adkinan", "Out of poverty"),
    "short.graduated": both("Pernah lulus", "Ever graduated"),
    "short.follow_ups_due": both("Menunggu kunjungan", "Visit due"),
    "short.income_median": both("Median", "Median"),
    "short.income_mean": both("Rata-rata", "Mean"),
    "short.above_line": both("Di atas garis", "Above the line"),
    "short.follow_ups_recorded": both("Tercatat", "Recorded"),
    "short.follow_ups_scheduled": both("Dijadwal\u00adkan", "Scheduled"),
    "short.follow_ups_missed": both("Terlewat", "Missed"),
    "column.value": both("Nilai", "Value"),
    "basis.version": both("Versi", "Version"),
    "contents": both("Isi halaman", "Contents"),
    "breadcrumb": both("Jejak halaman", "Breadcrumb"),
    "back": both("Seluruh NTB", "All of NTB"),
    "missing.title": both("Halaman tidak ditemukan", "Page not found"),
    "missing.text": both(
        "Alamat ini bukan salah satu halaman kami. Mungkin kode wilayah atau nama angkanya salah ketik.",
        "This address is none of our pages. A region code or the name of a figure may be mistyped.",
    ),
    "away.title": both("Sebentar, datanya belum terjangkau", "One moment, the data cannot be reached"),
    "away.text": both(
        "Basis data tidak menjawab. Muat ulang halaman ini beberapa saat lagi.",
        "The database does not answer. Load this page again in a moment.",
    ),
    "footer.synthetic": both(
        "Entas adalah perangkat lunak terbuka (Apache-2.0). Kode wilayah: Kepmendagri 300.2.2-2138/2025.",
        "Entas is open software (Apache-2.0). Region codes: Kepmendagri 300.2.2-2138/2025.",
    ),
}

SOURCES: dict[str, str] = {
    "project default": "bawaan proyek",
    "project default: no regulation sets when participants are visited again": (
        "bawaan proyek: belum ada peraturan yang menetapkan kapan peserta dikunjungi lagi"
    ),
    "The line: 1.9 USD PPP, Rp10,739 a day (2022). Two livelihoods: Desa Berdaya NTB. "
    "The rest: project default after BRAC's graduation criteria": (
        "Garis: 1,9 dolar AS PPP, Rp10.739 sehari (2022). Dua sumber nafkah: Desa Berdaya NTB. "
        "Selebihnya: bawaan proyek menurut kriteria graduasi BRAC"
    ),
}
"""What this project's own rules stand on, in Bahasa Indonesia. Any other source is shown as it was written."""
