/* ruvm, the workstation side: one function per verb, for the command line and for
 * programs that embed it.
 *
 * Each takes `const struct ruvm_<verb>_options *` (zero-initialised: defaults)
 * and `struct ruvm_error *`, returns RUVM_OK or a negative RUVM_ERR_* with the
 * text in err, and gives results in a struct. The library never prints and never
 * exits; long work reports through struct ruvm_progress.
 *
 * Every measured value in a result is measured in that call, on this machine.
 */
#ifndef RUVM_TOOL_H
#define RUVM_TOOL_H

#include "tool/bench.h"
#include "tool/bench_rag.h"
#include "tool/classifier.h"
#include "tool/common.h"
#include "tool/export.h"
#include "tool/flash.h"
#include "tool/inspect.h"
#include "tool/knowledge.h"
#include "tool/pack.h"
#include "tool/quantize.h"
#include "tool/session.h"

#endif
