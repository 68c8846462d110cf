/* The serial lines of this machine, over libserialport.
 *
 * libserialport finds the device, sets it to raw bytes and to any speed. Reading and writing
 * go by poll(2): its own waiting reads spin on a line that was pulled out, because such a
 * line always is readable and never has a byte. It refuses what is no device of sysfs, as the
 * pseudo-terminals of emulators and of serial lines over a network; these are opened here.
 */
#define _GNU_SOURCE
#include "lib/serial/line.h"

#include <errno.h>
#include <fcntl.h>
#include <libserialport.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "lib/base/clock.h"
#include "lib/base/error.h"

enum { WRITE_MS = 5000, ESPRESSIF = 0x303A, USB_JTAG = 0x1001 };

struct device {
    struct sp_port *port; /* NULL: a pseudo-terminal */
    int fd;
};

/* ---- bytes ------------------------------------------------------------------------ */

/* 1: ready, 0: not in time or a signal came, RUVM_ERR_IO: gone. */
static int wait_for(const struct device *d, short events, unsigned ms)
{
    struct pollfd p = {.fd = d->fd, .events = events};
    int n = poll(&p, 1, (int)ms);
    if (n < 0)
        return errno == EINTR ? 0 : RUVM_ERR_IO;
    if (n > 0 && !(p.revents & events))
        return RUVM_ERR_IO;
    return n;
}

static int read_some(void *state, uint8_t *bytes, size_t cap, unsigned ms)
{
    const struct device *d = state;
    int rc = wait_for(d, POLLIN, ms);
    if (rc <= 0)
        return rc;
    ssize_t n = read(d->fd, bytes, cap < INT_MAX ? cap : INT_MAX);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    return n > 0 ? (int)n : RUVM_ERR_IO;
}

static int write_all(void *state, const uint8_t *bytes, size_t n)
{
    const struct device *d = state;
    double end = ruvm_clock_s() + WRITE_MS / 1e3;
    while (n) {
        int rc = wait_for(d, POLLOUT, 100);
        if (rc < 0 || ruvm_clock_s() > end)
            return RUVM_ERR_IO;
        if (rc == 0)
            continue;
        ssize_t done = write(d->fd, bytes, n);
        if (done < 0 && errno != EAGAIN && errno != EINTR)
            return RUVM_ERR_IO;
        if (done > 0) {
            bytes += done;
            n -= (size_t)done;
        }
    }
    return RUVM_OK;
}

void ruvm_line_forget(const struct ruvm_line *line)
{
    uint8_t bytes[256];
    while (line->read(line->state, bytes, sizeof bytes, 0) > 0)
        ;
}

/* ---- signals, speed, time ----------------------------------------------------------- */

/* One call for both: on the usual boards a moment with only one of them is another signal. */
static int set_signals(void *state, bool dtr, bool rts)
{
    const struct device *d = state;
    int bits;
    if (ioctl(d->fd, TIOCMGET, &bits) != 0)
        return errno == ENOTTY || errno == EINVAL ? RUVM_ERR_UNSUPPORTED : RUVM_ERR_IO;
    bits = (bits & ~(TIOCM_DTR | TIOCM_RTS)) | (dtr ? TIOCM_DTR : 0) | (rts ? TIOCM_RTS : 0);
    return ioctl(d->fd, TIOCMSET, &bits) == 0 ? RUVM_OK : RUVM_ERR_IO;
}

/* A pseudo-terminal has any speed. */
static int set_baud(void *state, uint32_t baud)
{
    const struct device *d = state;
    return !d->port || sp_set_baudrate(d->port, (int)baud) == SP_OK ? RUVM_OK
                                                                    : RUVM_ERR_UNSUPPORTED;
}

static double clock_s(void *state)
{
    (void)state;
    return ruvm_clock_s();
}

static void sleep_ms(void *state, unsigned ms)
{
    (void)state;
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};
    nanosleep(&t, NULL);
}

/* ---- opening ----------------------------------------------------------------------- */

static int fail_open(const char *name, int number, struct ruvm_error *err)
{
    const char *advice =
        number == EACCES || number == EPERM ? ": you may not use it; become a member of its group "
                                              "(often dialout), and log in again"
        : number == ENOENT || number == ENXIO || number == ENODEV
            ? ": is the board plugged in, by a cable that carries data?"
        : number == EBUSY  ? ": another program has it open; end that one (a monitor?)"
        : number == ENOTTY ? ": it is no serial port"
                           : "";
    return ruvm_fail(err, RUVM_ERR_IO, "%s: cannot be opened: %s%s", name, strerror(number),
                     advice);
}

static int open_port(struct device *d, uint32_t baud)
{
    bool ok = sp_open(d->port, SP_MODE_READ_WRITE) == SP_OK;
    int number = ok ? 0 : errno;
    ok = ok && sp_get_port_handle(d->port, &d->fd) == SP_OK &&
         sp_set_baudrate(d->port, (int)baud) == SP_OK && sp_set_bits(d->port, 8) == SP_OK &&
         sp_set_parity(d->port, SP_PARITY_NONE) == SP_OK && sp_set_stopbits(d->port, 1) == SP_OK &&
         sp_set_flowcontrol(d->port, SP_FLOWCONTROL_NONE) == SP_OK;
    return ok ? 0 : number ? number : EIO;
}

static int open_terminal(struct device *d, const char *path)
{
    struct termios t;
    d->fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC);
    if (d->fd < 0)
        return errno;
    if (tcgetattr(d->fd, &t) != 0)
        return ENOTTY;
    cfmakeraw(&t);
    return tcsetattr(d->fd, TCSANOW, &t) == 0 ? 0 : errno;
}

static bool is_usb_jtag(const struct sp_port *port)
{
    int vendor, product;
    return port && sp_get_port_usb_vid_pid(port, &vendor, &product) == SP_OK &&
           vendor == ESPRESSIF && product == USB_JTAG;
}

/* 0 or a number of errno.h. The lock is the one that other programs for boards take. */
static int open_device(struct device *d, const char *name, uint32_t baud)
{
    char path[PATH_MAX];
    if (!realpath(name, path)) /* by-id names are links, which sysfs does not know */
        return errno;
    int rc =
        sp_get_port_by_name(path, &d->port) == SP_OK ? open_port(d, baud) : open_terminal(d, path);
    if (rc == 0 && flock(d->fd, LOCK_EX | LOCK_NB) != 0)
        rc = errno == EWOULDBLOCK ? EBUSY : errno;
    if (rc == 0)
        ioctl(d->fd, TIOCEXCL);
    return rc;
}

int ruvm_line_open(struct ruvm_line *line, const char *name, uint32_t baud, struct ruvm_error *err)
{
    struct device *d = calloc(1, sizeof *d);
    if (!d)
        return ruvm_fail(err, RUVM_ERR_MEMORY, "%s: memory is short", name);
    d->fd = -1;
    *line = (struct ruvm_line){.name = name,
                               .state = d,
                               .read = read_some,
                               .write = write_all,
                               .set_signals = set_signals,
                               .set_baud = set_baud,
                               .clock_s = clock_s,
                               .sleep_ms = sleep_ms};
    int number = open_device(d, name, baud);
    line->is_usb_jtag = number == 0 && is_usb_jtag(d->port);
    if (number == 0)
        return RUVM_OK;
    ruvm_line_close(line);
    return fail_open(name, number, err);
}

void ruvm_line_close(struct ruvm_line *line)
{
    struct device *d = line->state;
    if (!d)
        return;
    if (d->fd >= 0)
        ioctl(d->fd, TIOCNXCL); /* a pseudo-terminal would keep it */
    if (d->port) {
        if (d->fd >= 0)
            sp_close(d->port);
        sp_free_port(d->port);
    } else if (d->fd >= 0) {
        close(d->fd);
    }
    free(d);
    line->state = NULL;
}
