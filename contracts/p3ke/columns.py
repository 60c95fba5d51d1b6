"""The columns of the list: what each says, whose it is, how it is read and how far it may travel."""

from dataclasses import dataclass
from enum import StrEnum

from contracts.envelope import Privacy
from contracts.registry import AgeBand


class Belongs(StrEnum):
    FAMILY = "family"  # the same in every row of a family
    PERSON = "person"


class Kind(StrEnum):
    """How a value is read."""

    IDENTIFIER = "identifier"
    VILLAGE_CODE = "village_code"
    NUMBER = "number"  # from `lowest` to `highest`
    NAME = "name"  # of a person
    TEXT = "text"
    OPEN_WORDS = "open_words"  # `allowed` gives the usual values; others are kept as they stand
    CLOSED_WORDS = "closed_words"  # a value that is not in `allowed` is a warning, and read as None
    YES_NO = "yes_no"
    SEX = "sex"
    DATE = "date"
    NIK = "nik"
    FAMILY_CARD = "family_card"
    AGE_BAND = "age_band"  # one of seven yes/no columns that together give `age_band`


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `field` is its name in PersonRow; the seven age bands share one."""

    name: str
    field: str
    belongs: Belongs
    privacy: Privacy
    kind: Kind
    meaning: str
    required: bool = False
    allowed: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    band: AgeBand | None = None


# --- Values ----------------------------------------------------------------------------------------------------------

YES_NO = ("Ya", "Tidak")
SEXES = ("Laki-laki", "Perempuan")
HEAD = "Kepala Keluarga"

LATRINES = ("Ya, dengan Septic Tank", "Ya, tanpa Septic Tank", "Tidak, Jamban Umum/Bersama", "Lainnya")
DRINKING_WATER = (
    *("Ledeng/PAM", "Air Kemasan/Isi Ulang", "Sumur Bor", "Sumur Terlindung"),
    *("Sumur Tidak Terlindung", "Air Permukaan", "Air Hujan", "Lainnya"),
)

# The usual values of the columns below are not published as a list: they are read as open words.
HOUSE_OWNERSHIP = ("Milik Sendiri", "Kontrak/Sewa", "Bebas Sewa", "Menumpang", "Dinas", "Lainnya")
ROOFS = ("Beton", "Genteng", "Asbes", "Seng", "Bambu", "Kayu/Sirap", "Jerami/Ijuk/Daun-daunan", "Lainnya")
WALLS = ("Tembok", "Plesteran Anyaman Bambu", "Kayu/Papan", "Anyaman Bambu", "Bambu", "Lainnya")
FLOORS = ("Keramik", "Ubin/Tegel", "Semen", "Kayu/Papan", "Bambu", "Tanah", "Lainnya")
LIGHTING = ("Listrik PLN", "Listrik Bersama", "Listrik Non PLN", "Bukan Listrik", "Lainnya")
COOKING_FUELS = ("Listrik/Gas", "Minyak Tanah", "Arang/Kayu", "Lainnya")
TARGETING_FLAGS = ("P3KE", *YES_NO)
RELATIONS = (HEAD, "Istri/Suami", "Anak", "Menantu", "Cucu", "Orang Tua/Mertua", "Famili Lain", "Lainnya")
MARITAL_STATUSES = ("Belum Kawin", "Kawin", "Cerai Hidup", "Cerai Mati")
OCCUPATIONS = (
    *("Belum/Tidak Bekerja", "Pelajar/Mahasiswa", "Mengurus Rumah Tangga", "Petani/Pekebun", "Buruh Tani"),
    *("Peternak", "Nelayan", "Buruh Harian Lepas", "Tukang", "Pengrajin", "Pedagang", "Wiraswasta"),
    *("Pegawai Swasta", "PNS/TNI/Polri", "Lainnya"),
)
EDUCATION = (
    *("Tidak/Belum Sekolah", "Tidak Tamat SD/Sederajat", "Tamat SD/Sederajat"),
    *("Tamat SMP/Sederajat", "Tamat SMA/Sederajat", "Tamat Perguruan Tinggi"),
)

# --- The table -------------------------------------------------------------------------------------------------------

_OPEN, _PSEUDONYMOUS, _PERSONAL = Privacy.OPEN, Privacy.PSEUDONYMOUS, Privacy.PERSONAL


def _family(
    name: str,
    field: str,
    privacy: Privacy,
    kind: Kind,
    meaning: str,
    allowed: tuple[str, ...] = (),
    *,
    between: tuple[int, int] = (0, 0),
    required: bool = False,
) -> Column:
    return Column(name, field, Belongs.FAMILY, privacy, kind, meaning, required, allowed, *between)


def _received(name: str, meaning: str) -> Column:
    return _family(name, f"receives_{name}", _PSEUDONYMOUS, Kind.YES_NO, f"Receives {meaning}", YES_NO)


def _person(name: str, field: str, privacy: Privacy, kind: Kind, meaning: str, allowed: tuple[str, ...] = ()) -> Column:
    return Column(name, field, Belongs.PERSON, privacy, kind, meaning, allowed=allowed)


def _age(name: str, band: AgeBand) -> Column:
    meaning = f"The person is {band} years old"
    return Column(name, "age_band", Belongs.PERSON, _PSEUDONYMOUS, Kind.AGE_BAND, meaning, allowed=YES_NO, band=band)


COLUMNS: tuple[Column, ...] = (
    _family("id_keluarga", "family_id", _PERSONAL, Kind.IDENTIFIER, "The source's id of the family", required=True),
    _family("provinsi", "province", _OPEN, Kind.TEXT, "Name of the province; the code decides"),
    _family("kabupaten_kota", "kabupaten", _OPEN, Kind.TEXT, "Name of the kabupaten or kota; the code decides"),
    _family("kecamatan", "kecamatan", _OPEN, Kind.TEXT, "Name of the kecamatan; the code decides"),
    _family("desa_kelurahan", "village", _OPEN, Kind.TEXT, "Name of the desa or kelurahan; the code decides"),
    _family(
        "kode_kemdagri", "village_code", _OPEN, Kind.VILLAGE_CODE, "Code of the village, dotted or not", required=True
    ),
    _family(
        *("desil_kesejahteraan", "welfare_decile", _PSEUDONYMOUS, Kind.NUMBER, "Welfare decile, 1 is the poorest"),
        between=(1, 10),
        required=True,
    ),
    _family(
        *("persentil", "welfare_percentile", _PSEUDONYMOUS, Kind.NUMBER),
        "Welfare percentile, 1 is the poorest; not in public lists, supplied beside them",
        between=(1, 100),
    ),
    _family("alamat", "address", _PERSONAL, Kind.TEXT, "Address within the village"),
    _family("kepala_keluarga", "household_head", _PERSONAL, Kind.NAME, "Name of the household head"),
    _family(
        "kepemilikan_rumah", "house_ownership", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Whose the house is", HOUSE_OWNERSHIP
    ),
    _family("simpanan", "savings", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Has money, jewellery or livestock put by", YES_NO),
    _family("jenis_atap", "roof", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Main material of the roof", ROOFS),
    _family("jenis_dinding", "wall", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Main material of the walls", WALLS),
    _family("jenis_lantai", "floor", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Main material of the floor", FLOORS),
    _family("sumber_penerangan", "lighting", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Source of light", LIGHTING),
    _family("bahan_bakar_memasak", "cooking_fuel", _PSEUDONYMOUS, Kind.OPEN_WORDS, "Fuel for cooking", COOKING_FUELS),
    _family(
        "sumber_air_minum",
        "drinking_water",
        _PSEUDONYMOUS,
        Kind.CLOSED_WORDS,
        "Source of drinking water",
        DRINKING_WATER,
    ),
    _family("fasilitas_bab", "latrine", _PSEUDONYMOUS, Kind.CLOSED_WORDS, "Has a latrine", LATRINES),
    _received("bpnt", "BPNT, food assistance that is not cash"),
    _received("bpum", "BPUM, assistance for micro businesses"),
    _received("bst", "BST, cash assistance"),
    _received("pkh", "PKH, the family hope programme"),
    _received("sembako", "Sembako, staple food"),
    _family("resiko_stunting", "stunting_risk", _PSEUDONYMOUS, Kind.YES_NO, "A child may be stunted", YES_NO),
    _family(
        "pensasaran", "targeting_flag", _PSEUDONYMOUS, Kind.OPEN_WORDS, "The source's targeting flag", TARGETING_FLAGS
    ),
    _family(
        "nomor_kk", "family_card_number", _PERSONAL, Kind.FAMILY_CARD, "Family card number, 16 digits; often absent"
    ),
    _person("id_individu", "individual_id", _PERSONAL, Kind.IDENTIFIER, "The source's id of the person"),
    _person("nama", "name", _PERSONAL, Kind.NAME, "Name of the person"),
    _person("nik", "national_id", _PERSONAL, Kind.NIK, "NIK, 16 digits; some of the poorest have none"),
    _person(
        "padan_dukcapil", "civil_registry_match", _PSEUDONYMOUS, Kind.YES_NO, "The civil registry knows them", YES_NO
    ),
    _person("jenis_kelamin", "sex", _PSEUDONYMOUS, Kind.SEX, "Sex", SEXES),
    _person(
        "hubungan_kepala_keluarga", "relation_to_head", _PERSONAL, Kind.OPEN_WORDS, "Relation to the head", RELATIONS
    ),
    _person("tanggal_lahir", "birth_date", _PERSONAL, Kind.DATE, "Date of birth: 1984-07-31 or 31/07/1984"),
    _person("status_kawin", "marital_status", _PERSONAL, Kind.OPEN_WORDS, "Marital status", MARITAL_STATUSES),
    _person("pekerjaan", "occupation", _PERSONAL, Kind.OPEN_WORDS, "Occupation", OCCUPATIONS),
    _person("pendidikan", "education", _PERSONAL, Kind.OPEN_WORDS, "Highest education", EDUCATION),
    _age("usia_dibawah_7", AgeBand.UNDER_7),
    _age("usia_7_12", AgeBand.FROM_7),
    _age("usia_13_15", AgeBand.FROM_13),
    _age("usia_16_18", AgeBand.FROM_16),
    _age("usia_19_21", AgeBand.FROM_19),
    _age("usia_22_59", AgeBand.FROM_22),
    _age("usia_60_keatas", AgeBand.FROM_60),
)

ALIASES: dict[str, str] = {
    "id_keluarga_p3ke": "id_keluarga",
    "id_p3ke": "id_keluarga",
    "kabupaten": "kabupaten_kota",
    "kabkot": "kabupaten_kota",
    "desa": "desa_kelurahan",
    "kelurahan": "desa_kelurahan",
    "kode_kemendagri": "kode_kemdagri",
    "desil": "desil_kesejahteraan",
    "persentil_kesejahteraan": "persentil",
    "nama_kepala_keluarga": "kepala_keluarga",
    "memiliki_simpanan": "simpanan",
    "memiliki_simpanan_uang_perhiasan_ternak_lainnya": "simpanan",
    "memiliki_fasilitas_buang_air_besar": "fasilitas_bab",
    "fasilitas_buang_air_besar": "fasilitas_bab",
    "penerima_bpnt": "bpnt",
    "penerima_bpum": "bpum",
    "penerima_bst": "bst",
    "penerima_pkh": "pkh",
    "penerima_sembako": "sembako",
    "risiko_stunting": "resiko_stunting",
    "no_kk": "nomor_kk",
    "hubungan_dengan_kepala_keluarga": "hubungan_kepala_keluarga",
    "hubungan": "hubungan_kepala_keluarga",
    "usia_dibawah_7_tahun": "usia_dibawah_7",
    "usia_60_tahun_keatas": "usia_60_keatas",
}
"""Other names under which public exports give a column."""

FAMILY_FIELDS: tuple[str, ...] = tuple(column.field for column in COLUMNS if column.belongs is Belongs.FAMILY)
