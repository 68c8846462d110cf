/* Names of the status codes, for messages and logs. */
#include "lib/ruvm.h"

const char *ruvm_status_text(int status)
{
    switch (status) {
    case RUVM_OK: return "done";
    case RUVM_ERR_ARG: return "argument out of range";
    case RUVM_ERR_IO: return "input or output failed";
    case RUVM_ERR_CORRUPT: return "damaged data";
    case RUVM_ERR_UNSUPPORTED: return "not supported";
    case RUVM_ERR_MEMORY: return "too little memory";
    case RUVM_ERR_FULL: return "context full";
    case RUVM_ERR_MISMATCH: return "results differ";
    default: return "unknown status";
    }
}
