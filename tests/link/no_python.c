/* Stands for Python where there is none: in Rust tests and examples.
 *
 * pyo3-polars makes every Polars crate depend on pyo3, whose symbols only a Python process has.
 * Rust tests and examples never call them. With these in their place, they are linked from the
 * artefacts that the extension module is made of; otherwise Polars would be compiled twice. A
 * symbol that the linker misses after an update of pyo3 belongs in the list. */

#include <stdlib.h>

#define ABSENT(name) void name(void) { abort(); }

/* Asked by the allocator, which then takes the system's. */
int Py_IsInitialized(void) { return 0; }

ABSENT(_Py_DecRef)
ABSENT(_Py_IncRef)
ABSENT(_Py_NoneStruct)
ABSENT(PyBytes_AsString)
ABSENT(PyBytes_Size)
ABSENT(PyCapsule_Import)
ABSENT(PyErr_Clear)
ABSENT(PyErr_Fetch)
ABSENT(PyErr_NewExceptionWithDoc)
ABSENT(PyErr_NormalizeException)
ABSENT(PyErr_PrintEx)
ABSENT(PyErr_Restore)
ABSENT(PyErr_SetObject)
ABSENT(PyErr_SetString)
ABSENT(PyErr_WriteUnraisable)
ABSENT(PyEval_RestoreThread)
ABSENT(PyEval_SaveThread)
ABSENT(PyExc_BaseException)
ABSENT(PyExc_SystemError)
ABSENT(PyExc_TypeError)
ABSENT(PyException_GetTraceback)
ABSENT(PyException_SetTraceback)
ABSENT(PyGILState_Ensure)
ABSENT(PyGILState_Release)
ABSENT(PyImport_Import)
ABSENT(PyObject_Call)
ABSENT(PyObject_CallNoArgs)
ABSENT(PyObject_GetAttr)
ABSENT(PyObject_Repr)
ABSENT(PyObject_Str)
ABSENT(PyTraceBack_Print)
ABSENT(PyTuple_GetItem)
ABSENT(PyTuple_New)
ABSENT(PyTuple_SetItem)
ABSENT(PyTuple_Size)
ABSENT(PyTuple_Type)
ABSENT(PyType_GetFlags)
ABSENT(PyType_GetName)
ABSENT(PyType_GetQualName)
ABSENT(PyType_Type)
ABSENT(PyUnicode_AsEncodedString)
ABSENT(PyUnicode_AsUTF8AndSize)
ABSENT(PyUnicode_FromStringAndSize)
ABSENT(PyUnicode_InternInPlace)
ABSENT(PyUnicode_Type)
