"""Wrong calls: shared values."""

from .table import wrong


@wrong((KeyError, TypeError))
def value_of_an_unknown_typecode(m):
    m.Value("Q?")


@wrong(TypeError)
def value_of_another_type(m):
    m.Value("i", "three")


@wrong(TypeError)
def array_of_texts(m):
    m.Array("i", ["a", "b"])


@wrong(ValueError)
def array_of_a_negative_size(m):
    m.Array("i", -1)


@wrong(IndexError)
def index_beyond_an_array(m):
    m.Array("i", 3)[3]


@wrong(AttributeError)
def value_with_what_is_no_lock(m):
    m.Value("i", lock=5)


@wrong(AttributeError)
def lock_of_a_raw_value(m):
    m.RawValue("i").get_lock()


@wrong(TypeError)
def assignment_of_another_type(m):
    m.Value("i").value = "three"
