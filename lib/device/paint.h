/* What an unused word of the stack holds; for C and for assembly. */
#ifndef RUVM_DEVICE_PAINT_H
#define RUVM_DEVICE_PAINT_H

#define RUVM_PAINT 0x52555655

#endif
