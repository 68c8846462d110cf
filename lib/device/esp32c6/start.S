/* ESP32-C6: a processor of the same kind starts in the same way. */
#include "lib/device/esp32c3/start.S"
