/*
 * tierfs._native: checksum.h and copy.h for Python. The one file here that knows Python.
 *
 * What each function promises is written in tierfs/native.py beside its Python twin; this file only
 * converts, checks every argument, and gives up the GIL. A buffer stays locked (Py_buffer) for the whole
 * call, so it cannot be resized or freed meanwhile; who writes to it meanwhile gets a checksum of neither.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>

#include "checksum.h"
#include "copy.h"

/* Raised with every change of a signature or of a meaning; tierfs/native.py refuses another. */
enum { ABI = 1 };

/* Below this a checksum takes 2 us (20 us in the scalar variants), while getting a contended GIL back can take
 * its switch interval of 5 ms. */
enum { INLINE_BYTES = 32 * 1024 };

/* ---- arguments; each converter returns false with an exception set ---- */

static bool expect(const char *function, Py_ssize_t count, Py_ssize_t least, Py_ssize_t most)
{
    if (least <= count && count <= most)
        return true;
    PyErr_Format(PyExc_TypeError, "%s() takes %zd to %zd positional arguments, got %zd", function, least, most, count);
    return false;
}

/* A whole number of 0..limit: TypeError for no number, ValueError beyond the limits. */
static bool to_uint64(PyObject *object, const char *what, uint64_t limit, uint64_t *value)
{
    PyObject *number = PyNumber_Index(object);
    if (number == NULL)
        return false;
    *value = PyLong_AsUnsignedLongLong(number);
    Py_DECREF(number);
    bool failed = *value == UINT64_MAX && PyErr_Occurred();
    if (failed && !PyErr_ExceptionMatches(PyExc_OverflowError))
        return false;
    if (failed || *value > limit) {
        PyErr_Format(PyExc_ValueError, "%s must be 0 to %llu", what, (unsigned long long)limit);
        return false;
    }
    return true;
}

static bool to_fd(PyObject *object, int *fd)
{
    PyObject *number = PyNumber_Index(object);
    if (number == NULL)
        return false;
    long value = PyLong_AsLong(number);
    Py_DECREF(number);
    if (value == -1 && PyErr_Occurred())
        return false;
    if (value < INT_MIN || value > INT_MAX) {
        PyErr_SetString(PyExc_OverflowError, "a file descriptor must fit in a C int");
        return false;
    }
    *fd = (int)value;
    return true;
}

/* An offset whose range of `size_bytes` ends at 2^63 - 1 or before, the last that off_t knows. */
static bool to_offset(PyObject *object, const char *what, uint64_t size_bytes, off_t *offset)
{
    uint64_t value;
    if (!to_uint64(object, what, INT64_MAX, &value))
        return false;
    if (size_bytes > (uint64_t)INT64_MAX - value) {
        PyErr_Format(PyExc_ValueError, "%s plus the length must be at most %lld", what, (long long)INT64_MAX);
        return false;
    }
    *offset = (off_t)value;
    return true;
}

/* ---- results ---- */

/* True when a call that was interrupted shall go on: Python's signal handlers ran and raised nothing. */
static bool go_on_after(int error)
{
    return error == EINTR && PyErr_CheckSignals() == 0;
}

static PyObject *raise_errno(int error)
{
    if (!PyErr_Occurred()) { /* else it is what a signal handler raised */
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
    }
    return NULL;
}

/* ---- checksums ---- */

static PyObject *py_crc64nvme(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t crc = 0;
    Py_buffer data;
    if (!expect("crc64nvme", count, 1, 2) || (count > 1 && !to_uint64(args[1], "previous", UINT64_MAX, &crc)) ||
        PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) != 0)
        return NULL;
    if (data.len <= INLINE_BYTES) {
        crc = crc64nvme(crc, data.buf, (size_t)data.len);
    } else {
        Py_BEGIN_ALLOW_THREADS
        crc = crc64nvme(crc, data.buf, (size_t)data.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(crc);
}

static PyObject *py_crc32c(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t previous = 0;
    Py_buffer data;
    if (!expect("crc32c", count, 1, 2) || (count > 1 && !to_uint64(args[1], "previous", UINT32_MAX, &previous)) ||
        PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) != 0)
        return NULL;
    uint32_t crc = (uint32_t)previous;
    if (data.len <= INLINE_BYTES) {
        crc = crc32c(crc, data.buf, (size_t)data.len);
    } else {
        Py_BEGIN_ALLOW_THREADS
        crc = crc32c(crc, data.buf, (size_t)data.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLong(crc);
}

static PyObject *py_xxh3_64(PyObject *Py_UNUSED(module), PyObject *object)
{
    Py_buffer data;
    if (PyObject_GetBuffer(object, &data, PyBUF_SIMPLE) != 0)
        return NULL;
    uint64_t hash;
    if (data.len <= INLINE_BYTES) {
        hash = xxh3_64(data.buf, (size_t)data.len);
    } else {
        Py_BEGIN_ALLOW_THREADS
        hash = xxh3_64(data.buf, (size_t)data.len);
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&data);
    return PyLong_FromUnsignedLongLong(hash);
}

static PyObject *py_crc64nvme_combine(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t crc_a, crc_b, size_b_bytes;
    if (!expect("crc64nvme_combine", count, 3, 3) || !to_uint64(args[0], "crc_a", UINT64_MAX, &crc_a) ||
        !to_uint64(args[1], "crc_b", UINT64_MAX, &crc_b) || !to_uint64(args[2], "len_b", INT64_MAX, &size_b_bytes))
        return NULL;
    return PyLong_FromUnsignedLongLong(crc64nvme_combine(crc_a, crc_b, size_b_bytes));
}

static PyObject *py_crc32c_combine(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t crc_a, crc_b, size_b_bytes;
    if (!expect("crc32c_combine", count, 3, 3) || !to_uint64(args[0], "crc_a", UINT32_MAX, &crc_a) ||
        !to_uint64(args[1], "crc_b", UINT32_MAX, &crc_b) || !to_uint64(args[2], "len_b", INT64_MAX, &size_b_bytes))
        return NULL;
    return PyLong_FromUnsignedLong(crc32c_combine((uint32_t)crc_a, (uint32_t)crc_b, size_b_bytes));
}

/* ---- copies ---- */

static PyObject *py_copy_crc64nvme(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    uint64_t crc = 0;
    Py_buffer destination, source;
    if (!expect("copy_crc64nvme", count, 2, 3) || (count > 2 && !to_uint64(args[2], "previous", UINT64_MAX, &crc)) ||
        PyObject_GetBuffer(args[0], &destination, PyBUF_WRITABLE) != 0)
        return NULL;
    if (PyObject_GetBuffer(args[1], &source, PyBUF_SIMPLE) != 0) {
        PyBuffer_Release(&destination);
        return NULL;
    }
    PyObject *result = NULL;
    if (destination.len < source.len) {
        PyErr_Format(PyExc_ValueError, "%zd bytes do not fit in a destination of %zd", source.len, destination.len);
    } else {
        if (source.len <= INLINE_BYTES) {
            crc = copy_memory(destination.buf, source.buf, (size_t)source.len, crc);
        } else {
            Py_BEGIN_ALLOW_THREADS
            crc = copy_memory(destination.buf, source.buf, (size_t)source.len, crc);
            Py_END_ALLOW_THREADS
        }
        result = PyLong_FromUnsignedLongLong(crc);
    }
    PyBuffer_Release(&source);
    PyBuffer_Release(&destination);
    return result;
}

static PyObject *py_pwrite_crc64nvme(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    int fd;
    off_t offset;
    Py_buffer data;
    if (!expect("pwrite_crc64nvme", count, 3, 3) || !to_fd(args[0], &fd) ||
        PyObject_GetBuffer(args[1], &data, PyBUF_SIMPLE) != 0)
        return NULL;
    PyObject *result = NULL;
    if (to_offset(args[2], "offset", (uint64_t)data.len, &offset)) {
        struct copy_progress progress = {0};
        int error;
        do {
            Py_BEGIN_ALLOW_THREADS
            error = copy_to_file(fd, data.buf, (size_t)data.len, offset, &progress);
            Py_END_ALLOW_THREADS
        } while (go_on_after(error));
        result = error ? raise_errno(error) : PyLong_FromUnsignedLongLong(progress.crc);
    }
    PyBuffer_Release(&data);
    return result;
}

static PyObject *py_pread_crc64nvme(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    int fd;
    uint64_t size_bytes;
    off_t offset;
    if (!expect("pread_crc64nvme", count, 3, 3) || !to_fd(args[0], &fd) ||
        !to_uint64(args[1], "length", PY_SSIZE_T_MAX, &size_bytes) ||
        !to_offset(args[2], "offset", size_bytes, &offset))
        return NULL;
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)size_bytes);
    if (bytes == NULL)
        return NULL;
    struct copy_progress progress = {0};
    int error;
    do {
        Py_BEGIN_ALLOW_THREADS
        error = copy_from_file(fd, PyBytes_AS_STRING(bytes), (size_t)size_bytes, offset, &progress);
        Py_END_ALLOW_THREADS
    } while (go_on_after(error));
    if (error) {
        Py_DECREF(bytes);
        return raise_errno(error);
    }
    if (progress.done < size_bytes && _PyBytes_Resize(&bytes, (Py_ssize_t)progress.done) != 0)
        return NULL;
    return Py_BuildValue("NK", bytes, (unsigned long long)progress.crc);
}

static PyObject *py_copy_range_crc64nvme(PyObject *Py_UNUSED(module), PyObject *const *args, Py_ssize_t count)
{
    int fd_in, fd_out;
    off_t offset_in, offset_out;
    uint64_t size_bytes;
    if (!expect("copy_range_crc64nvme", count, 5, 5) || !to_fd(args[0], &fd_in) || !to_fd(args[2], &fd_out) ||
        !to_uint64(args[4], "length", INT64_MAX, &size_bytes) ||
        !to_offset(args[1], "off_in", size_bytes, &offset_in) ||
        !to_offset(args[3], "off_out", size_bytes, &offset_out))
        return NULL;
    struct copy_progress progress = {0};
    int error;
    do {
        Py_BEGIN_ALLOW_THREADS
        error = copy_file_to_file(fd_in, offset_in, fd_out, offset_out, size_bytes, &progress);
        Py_END_ALLOW_THREADS
    } while (go_on_after(error));
    if (error)
        return raise_errno(error);
    return Py_BuildValue("KK", (unsigned long long)progress.done, (unsigned long long)progress.crc);
}

/* ---- the module ---- */

static PyObject *py_variants(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{s:s,s:s,s:s}", "crc64nvme", crc64nvme_chosen->name, "crc32c", crc32c_chosen->name,
                         "xxh3_64", xxh3_64_chosen->name);
}

#define FASTCALL(function) (PyCFunction)(void (*)(void))function, METH_FASTCALL

static PyMethodDef methods[] = {
    {"crc64nvme", FASTCALL(py_crc64nvme), NULL},
    {"crc64nvme_combine", FASTCALL(py_crc64nvme_combine), NULL},
    {"crc32c", FASTCALL(py_crc32c), NULL},
    {"crc32c_combine", FASTCALL(py_crc32c_combine), NULL},
    {"xxh3_64", py_xxh3_64, METH_O, NULL},
    {"copy_crc64nvme", FASTCALL(py_copy_crc64nvme), NULL},
    {"pwrite_crc64nvme", FASTCALL(py_pwrite_crc64nvme), NULL},
    {"pread_crc64nvme", FASTCALL(py_pread_crc64nvme), NULL},
    {"copy_range_crc64nvme", FASTCALL(py_copy_range_crc64nvme), NULL},
    {"variants", py_variants, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int execute(PyObject *module)
{
    checksum_init();
    return PyModule_AddIntConstant(module, "ABI", ABI);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, execute},
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "tierfs._native",
    .m_doc = "Checksums and checksumming copies in C; see tierfs.native, which chooses and documents them.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&definition);
}
