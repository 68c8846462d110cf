/* When the processor meets something that it cannot do: a fault of the firmware's, or of the
 * chip's. It is told and then nothing more happens, so that the message stays to be read. */
#include "lib/device/trap.h"

#include "lib/device/console.h"
#include "lib/device/port.h"

_Noreturn void ruvm_device_trap(uint32_t cause, uint32_t pc, uint32_t address)
{
    ruvm_console_text("\nerror exception cause=");
    ruvm_console_number(cause);
    ruvm_console_text(" pc=");
    ruvm_console_hex(pc);
    ruvm_console_text(" address=");
    ruvm_console_hex(address);
    ruvm_console_text(": reset the chip\n");
#ifdef RUVM_DEVICE_EXIT
    ruvm_port_exit(255);
#endif
    for (;;)
        continue;
}
