# ruvm: `make help` lists what there is to make.
#
#   V=release|debug|asan|ubsan|cov|fuzz   variant; each has its own folder, so none clashes
#   CC=gcc|clang|...                      any compiler but gcc gets build/<variant>-<compiler>/
#   ARCH=x86_64|aarch64|...               of the machine built for, when CC is a cross compiler
#   WERROR=0                              warnings do not stop the build
#   DESTDIR= PREFIX=                      where to install
#
# New files need no edit here, except on the chip: CORE below lists them by name.

V ?= release
ARCH ?= $(shell uname -m)
PREFIX ?= /usr/local
WERROR ?= 1
ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(origin AR),default)
AR = ar
endif
PKG_CONFIG ?= pkg-config
FUZZ_SECONDS ?= 60

B := build/$(V)$(addprefix -,$(filter-out gcc,$(notdir $(firstword $(CC)))))

# ---- what runs on a chip: freestanding, integers only ------------------------

CORE = \
	lib/core/engine.c \
	lib/core/attention.c \
	lib/core/feed_forward.c \
	lib/core/vector.c \
	lib/core/parallel.c \
	lib/core/cache.c \
	lib/core/state.c \
	lib/core/mask.c \
	lib/core/fixed.c \
	lib/core/mlp.c \
	lib/core/tokenizer.c \
	lib/core/pieces.c \
	lib/core/merge.c \
	lib/core/unigram.c \
	lib/core/pattern.c \
	lib/core/unicode.c \
	lib/core/sampler.c \
	lib/core/verify.c \
	lib/core/status.c \
	lib/base/crc32.c \
	lib/base/crc32_plain.c \
	formats/frame_read.c \
	formats/ruvm_read.c \
	formats/mlp_read.c \
	formats/pack_read.c \
	formats/check_read.c \
	formats/arch_read.c \
	formats/weights_read.c \
	formats/optional_read.c \
	formats/tokn_read.c \
	formats/ruvm_codes.c \
	lib/vector/vectors.c \
	lib/vector/search.c \
	lib/vector/walk.c \
	lib/vector/nearest.c \
	lib/vector/distance.c \
	lib/vector/pq.c \
	lib/vector/words.c \
	lib/vector/recipe.c \
	lib/vector/bm25.c \
	lib/vector/blend.c \
	lib/vector/ask.c \
	lib/vector/knn.c \
	lib/memory/traits.c \
	lib/memory/traits_read.c \
	lib/memory/memory.c \
	formats/rag_read.c \
	formats/ragcheck_read.c \
	kernels/scalar.c \
	kernels/scalar_codes.c \
	kernels/vectors_scalar.c

# ---- sources -----------------------------------------------------------------

# Kernels that only some machines can compile; kernels/select.c is told which are there.
KERNELS_x86_64 = avx2 avx512vnni roof_avx2 roof_avx512vnni vectors_avx2 vectors_avx512
KERNELS_aarch64 = neon neondot roof_neon roof_neondot vectors_neon
KERNELS_OTHER = $(filter-out $(KERNELS_$(ARCH)),$(KERNELS_x86_64) $(KERNELS_aarch64) rv32)

KERNELS_SRC := $(filter-out $(KERNELS_OTHER:%=kernels/%.c),$(sort $(wildcard kernels/*.c)))
# The same for the CRC; a chip has the plain one.
CRC32_OTHER = lib/base/crc32_$(if $(filter x86_64,$(ARCH)),plain,x86_64).c
LIB_SRC := $(sort $(filter-out lib/device/% $(CRC32_OTHER),$(wildcard lib/*.c lib/*/*.c)) \
	$(wildcard formats/*.c)) $(KERNELS_SRC)
LIB_ASM := $(sort $(wildcard lib/*.S))
CLI_SRC := $(sort $(wildcard cli/*.c))
# One Criterion program a folder of tests/, of all its C files but *main.c, which are
# programs of their own, and of tests/support.
TEST_DIRS := $(sort $(patsubst tests/%/,%,$(dir $(wildcard tests/*/test_*.c))))
FUZZERS := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
C_FILES = $(sort $(wildcard cli/*.[ch] lib/*.[ch] lib/*/*.[ch] lib/*/*/*.[ch] formats/*.[ch] \
	kernels/*.[ch] tests/*.[ch] tests/*/*.[ch]))

LIB_OBJ := $(LIB_SRC:%.c=$B/%.o) $(LIB_ASM:%.S=$B/%.o)
CLI_OBJ := $(CLI_SRC:%.c=$B/%.o)
test_objects = $(patsubst %.c,$B/%.o,$(filter-out %main.c,$(wildcard tests/$1/*.c \
	tests/support/*.c)) $(if $(filter cli,$1),$(filter-out cli/main.c,$(CLI_SRC))))
TESTS := $(TEST_DIRS:%=$B/tests/%/test)
REPLAYS := $(FUZZERS:%=$B/tests/fuzz/replay_%)
FUZZ_BIN := $(FUZZERS:%=$B/tests/fuzz/fuzz_%)

# ---- flags -------------------------------------------------------------------

WARN = -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes \
	-Wdouble-promotion -Wvla -Wundef -Wpointer-arith -Wcast-qual
ifneq ($(WERROR),0)
WARN += -Werror
endif

# The sanitizers' own arithmetic converts signs; the other variants watch ours.
SANITIZE = -fno-sanitize-recover=all -fno-omit-frame-pointer -Wno-conversion -Wno-sign-conversion
FLAGS_release = -O2 -g
FLAGS_debug = -O0 -g3
FLAGS_asan = -O1 -g -fsanitize=address,undefined $(SANITIZE)
FLAGS_ubsan = -O1 -g -fsanitize=undefined $(SANITIZE)
FLAGS_cov = -O0 -g --coverage
FLAGS_fuzz = -O1 -g -fsanitize=fuzzer-no-link,address,undefined $(SANITIZE)
ifeq ($(FLAGS_$(V)),)
$(error V=$(V) is no variant; there are release debug asan ubsan cov fuzz)
endif

# The compiler refuses a float in the core; for the kernels the ISA is given a file.
GENERAL_REGS_x86_64 = -mgeneral-regs-only
GENERAL_REGS_aarch64 = -mgeneral-regs-only
CORE_FLAGS = -ffreestanding $(GENERAL_REGS_$(ARCH))
KERNEL_FLAGS_avx2 = -mavx2
KERNEL_FLAGS_avx512vnni = -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512cd -mavx512vnni
KERNEL_FLAGS_neondot = -march=armv8.2-a+dotprod
KERNEL_FLAGS_vectors_avx2 = $(KERNEL_FLAGS_avx2)
KERNEL_FLAGS_vectors_avx512 = $(KERNEL_FLAGS_avx512vnni)
KERNEL_FLAGS_select = $(HAVE_$(ARCH))
KERNEL_FLAGS_roof_avx2 = $(KERNEL_FLAGS_avx2)
KERNEL_FLAGS_roof_avx512vnni = $(KERNEL_FLAGS_avx512vnni)
KERNEL_FLAGS_roof_neondot = $(KERNEL_FLAGS_neondot)
KERNEL_FLAGS_roof_select = $(KERNEL_FLAGS_select)
KERNEL_FLAGS_vectors_select = $(HAVE_$(ARCH))
KERNEL_OPT = $(if $(filter release,$(V)),-O3)
HAVE_x86_64 = -DRUVM_HAVE_AVX2=1 -DRUVM_HAVE_AVX512VNNI=1
HAVE_aarch64 = -DRUVM_HAVE_NEON=1 -DRUVM_HAVE_NEONDOT=1

# No contraction: floats round the same with every compiler, on every machine.
ALL_CFLAGS = -std=c11 -ffile-prefix-map=$(CURDIR)/=./ -ffp-contract=off -I. $(WARN) $(FLAGS_$(V)) $(CPPFLAGS) $(CFLAGS)
ALL_LDFLAGS = $(filter-out -O% -g%,$(FLAGS_$(V))) $(LDFLAGS)
# Asked when a recipe runs, not when this file is read: `make deps` may come first.
CLI_CFLAGS = $(shell $(PKG_CONFIG) --cflags argtable2 libcjson)
CLI_LIBS = $(shell $(PKG_CONFIG) --libs argtable2 libcjson)
LIBS = -lcjson -lhogweed -lnettle -lserialport -lz -lpthread -lm
VERSION = $(shell sed -n 's/^.define RUVM_VERSION_TEXT "\(.*\)"/\1/p' lib/ruvm.h)

$(patsubst %.c,$B/%.o,$(filter-out kernels/%,$(CORE))): FILE_FLAGS = $(CORE_FLAGS)
$B/kernels/%.o: FILE_FLAGS = $(KERNEL_OPT) $(KERNEL_FLAGS_$(*F))
$(foreach room,import export prune convert quant,$B/lib/$(room)/%.o): FILE_FLAGS = $(KERNEL_OPT)
$B/lib/train/%.o: FILE_FLAGS = $(KERNEL_OPT)
$B/lib/bundle/%.o: FILE_FLAGS = $(KERNEL_OPT)
$B/formats/dtype.o: FILE_FLAGS = $(KERNEL_OPT)
$B/cli/%.o: FILE_FLAGS = $(CLI_CFLAGS)

# ---- building ----------------------------------------------------------------

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
# `make -j2 deps demo`: the packages first, then what needs them.
ifneq ($(filter deps deps-test,$(MAKECMDGOALS)),)
.NOTPARALLEL:
endif
# VERBOSE=1 shows the commands.
ifneq ($(VERBOSE),1)
Q = @
say = @echo '  $1	$2';
endif

all: $B/ruvm $B/libruvm.a ## the executable and the library (plain `make`)

# Holds the flags of the last build, so that other flags rebuild everything.
BUILD_FLAGS = $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS)
ifneq ($(strip $(file <$B/flags)),$(strip $(BUILD_FLAGS)))
$B/flags: FORCE
endif
$B/flags:
	@mkdir -p $B
	@printf '%s\n' '$(subst ','\'',$(BUILD_FLAGS))' > $@

$B/%.o: %.c $B/flags Makefile
	@mkdir -p $(@D)
	$(call say,CC,$@)$(CC) $(ALL_CFLAGS) $(FILE_FLAGS) -MMD -MP -c -o $@ $<

$B/lib/%.o: lib/%.S lib/demo.ruvm $B/flags
	@mkdir -p $(@D)
	$(call say,AS,$@)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$B/libruvm.a: $(LIB_OBJ)
	$(call say,AR,$@)rm -f $@ && $(AR) rcsD $@ $(LIB_OBJ)

$B/ruvm: $(CLI_OBJ) $B/libruvm.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $(CLI_OBJ) $B/libruvm.a $(CLI_LIBS) $(LIBS)

tests: $(TESTS) $(REPLAYS) ## the test programs of the variant V

.SECONDEXPANSION:
$(TESTS): $B/tests/%/test: $$(call test_objects,$$*) $B/libruvm.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $(filter %.o,$^) $B/libruvm.a -lcriterion \
		$(CLI_LIBS) $(LIBS)

$(REPLAYS): $B/tests/fuzz/replay_%: $B/tests/fuzz/fuzz_%.o $B/tests/fuzz/replay.o $B/libruvm.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(FUZZ_BIN): $B/tests/fuzz/fuzz_%: $B/tests/fuzz/fuzz_%.o $B/libruvm.a
	$(call say,LD,$@)$(CC) $(ALL_LDFLAGS) -fsanitize=fuzzer -o $@ $^ $(LIBS)

-include $(LIB_OBJ:.o=.d) $(CLI_OBJ:.o=.d) $(wildcard $B/tests/*/*.d)

# ---- packages of Debian 12 ---------------------------------------------------

DEPS = gcc libc6-dev make pkg-config libargtable2-dev libcjson-dev nettle-dev libserialport-dev \
	zlib1g-dev
DEPS_TEST = $(DEPS) libcriterion-dev clang libclang-rt-14-dev clang-format mandoc \
	shellcheck gcc-riscv64-unknown-elf gcc-xtensa-lx106 qemu-system-misc libunicorn-dev qemu-user gcc-aarch64-linux-gnu libc6-dev-arm64-cross \
	bash bsdextrautils zsh fish python3 jq
AS_ROOT = $(shell test "$$(id -u)" = 0 || command -v sudo)
# Nothing is fetched when everything is there, so that this works without a network, too.
define install_packages
	@if dpkg-query -W -f '$${db:Status-Status}\n' $1 2>&1 | grep -qvx installed; then \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get update && \
		$(AS_ROOT) env DEBIAN_FRONTEND=noninteractive apt-get install -y \
			--no-install-recommends $1; \
	else echo 'the packages are installed'; fi
endef

deps: ## installs what building needs (Debian 12: apt-get, as root or by sudo)
	$(call install_packages,$(DEPS))

deps-test: ## installs what `make check` needs, and what building needs
	$(call install_packages,$(DEPS_TEST))

# ---- firmware: lib/device as a whole program for each chip ------------------------

# EXIT=1 adds a command by which the firmware ends the emulator that it runs in.
CHIPS = esp32c3 esp32c6 esp32
EXIT ?= 0
FW := build/firmware$(if $(filter 1,$(EXIT)),-exit)
CC_esp32c3 = riscv64-unknown-elf-gcc
CC_esp32c6 = riscv64-unknown-elf-gcc
CC_esp32 = xtensa-lx106-elf-gcc
# Before version 20191213 of the ISA the counters' instructions are a part of the base.
CHIP_FLAGS_esp32c3 = -march=rv32imc -mabi=ilp32 -misa-spec=2.2
CHIP_FLAGS_esp32c6 = -march=rv32imac -mabi=ilp32 -misa-spec=2.2
CHIP_FLAGS_esp32 = -mlongcalls -mtext-section-literals
# What makes code smaller: not for what is in RAM, which must call nothing in flash and stay a
# file of its own for the linker's script.
COLD_FLAGS_esp32c3 = -msave-restore -flto
COLD_FLAGS_esp32c6 = $(COLD_FLAGS_esp32c3)
FW_FLAGS = -std=c11 -I. -Os -ffreestanding -ffunction-sections -fdata-sections \
	-ffile-prefix-map=$(CURDIR)/=./ $(WARN) $(if $(filter 1,$(EXIT)),-DRUVM_DEVICE_EXIT=1) \
	-DRUVM_WITHOUT_WORDS=1 -DRUVM_CORE_SMALL=1
FW_LINK = -nostdlib -static -Wl,--gc-sections
FW_LINK_esp32c3 = -Os -msave-restore -flto-partition=one -Wl,--no-warn-rwx-segments
FW_LINK_esp32c6 = $(FW_LINK_esp32c3)
FW_KERNEL_FLAGS = -O2 -fno-schedule-insns
FW_KERNEL_FLAGS_esp32 = $(FW_KERNEL_FLAGS)
FW_APP = $(filter-out lib/base/crc32%,$(CORE)) $(patsubst %,lib/device/%.c,main model \
	request settings console partition trap rt div crc32 memory app_desc)
FW_BOOT = lib/base/crc32.c lib/base/crc32_plain.c \
	$(patsubst %,lib/device/%.c,boot console partition trap rt sha256)
# The chip's own kernels take the place of the scalar table, of which only the tables of
# numbers are left.
FW_APP_esp32c3 = kernels/rv32.c
FW_SCALAR_esp32c3 = -Druvm_kernels_scalar=ruvm_kernels_unused
FW_APP_LINK_esp32c3 = -Wl,--defsym=ruvm_kernels_scalar=ruvm_kernels_rv32
FW_APP_esp32c6 = $(FW_APP_esp32c3)
FW_SCALAR_esp32c6 = $(FW_SCALAR_esp32c3)
FW_APP_LINK_esp32c6 = $(FW_APP_LINK_esp32c3)
FW_APP_esp32 = lib/device/arith.c
FW_BOOT_esp32 = lib/device/arith.c
fw_objects = $(patsubst %.c,$(FW)/$1/$2/%.o,$(FW_$3) $(FW_$3_$1) lib/device/$1/port.c) \
	$(FW)/$1/$2/lib/device/$1/start.o
fw_app = $(call fw_objects,$1,app,APP) $(FW)/$1/app/lib/device/$2.o
# The ROM of the C3 can also start a program where it lies in flash; it has search, too.
FW_PROGRAMS = app.elf knowledge.elf boot.elf
FW_PROGRAMS_esp32c3 = direct.elf
HAVE_CHIPS = $(foreach c,$(CHIPS),$(if $(shell command -v $(CC_$c)),$c))

firmware: $(foreach c,$(CHIPS),firmware-$c) ## build/firmware/<chip>/{app,knowledge,boot}.elf (C3: direct.elf, too), for chips whose compiler is here
	@test -n '$(HAVE_CHIPS)' || { echo 'no compiler of a chip is here: make deps-test'; exit 1; }

firmware-%: FORCE
	@if command -v $(CC_$*) >/dev/null; then \
		$(MAKE) --no-print-directory EXIT=$(EXIT) \
			$(patsubst %,$(FW)/$*/%,$(FW_PROGRAMS) $(FW_PROGRAMS_$*)); \
	else echo '  $*: $(CC_$*) is missing (make deps-test)'; fi

# chip CHIP: how its programs are made: the loader, and the application without and with search
# in knowledge.
define chip
$(FW)/$1/app/kernels/%.o: FW_FILE_FLAGS = $(FW_KERNEL_FLAGS_$1)
$(FW)/$1/app/kernels/rv32.o: FW_FILE_FLAGS = $(FW_KERNEL_FLAGS)
$(FW)/$1/app/kernels/scalar.o: FW_FILE_FLAGS = $(FW_KERNEL_FLAGS_$1) $(FW_SCALAR_$1)
$(FW)/$1/app/lib/device/$1/port.o: FW_FILE_FLAGS =
$(FW)/$1/boot/%.o: FW_FILE_FLAGS = -DRUVM_DEVICE_BOOT=1
$(FW)/$1/app/%.o: FW_FILE_FLAGS = $(COLD_FLAGS_$1)
$(FW)/$1/%/lib/device/rt.o: FW_FILE_FLAGS = -fno-tree-loop-distribute-patterns
$(FW)/$1/%/lib/device/div.o: FW_FILE_FLAGS =
$(call fw_rule,$1,app)
$(call fw_rule,$1,boot)
$(call fw_app_rule,$1,app,no_query,app)
$(call fw_app_rule,$1,knowledge,query,app)
$(call fw_app_rule,$1,direct,query,direct,$(FW)/$1/app/lib/device/$1/direct.o)
$(FW)/$1/boot.elf: $(call fw_objects,$1,boot,BOOT) lib/device/$1/boot.ld
	$$(call say,LD,$$@)$(CC_$1) $(CHIP_FLAGS_$1) $(FW_LINK) $(FW_LINK_$1) \
		-T lib/device/$1/boot.ld -Wl,-Map=$$(@:.elf=.map) -o $$@ $$(filter %.o,$$^) -lgcc
endef
define fw_app_rule
$(FW)/$1/$2.elf: $(call fw_app,$1,$3) $5 lib/device/$1/$4.ld
	$$(call say,LD,$$@)$(CC_$1) $(CHIP_FLAGS_$1) $(FW_LINK) $(FW_LINK_$1) $(FW_APP_LINK_$1) \
		-T lib/device/$1/$4.ld -Wl,-Map=$$(@:.elf=.map) -o $$@ $$(filter %.o,$$^) -lgcc
endef
define fw_rule
$(FW)/$1/$2/%.o: %.c Makefile
	@mkdir -p $$(@D)
	$$(call say,CC,$$@)$(CC_$1) $(CHIP_FLAGS_$1) $(FW_FLAGS) $$(FW_FILE_FLAGS) -MMD -MP -c -o $$@ $$<
$(FW)/$1/$2/%.o: %.S Makefile
	@mkdir -p $$(@D)
	$$(call say,AS,$$@)$(CC_$1) $(CHIP_FLAGS_$1) -I. -c -o $$@ $$<
endef
$(foreach c,$(CHIPS),$(eval $(call chip,$c)))
-include $(wildcard build/firmware*/*/*/*/*.d build/firmware*/*/*/*/*/*.d build/firmware*/*/*/*/*/*/*.d)

# ---- using -------------------------------------------------------------------

HOME_QUESTION = Home: The kitchen lamp is on. The hall door is closed. The bathroom is 22 \
	degrees.\nQ: Is the kitchen lamp off?\nA:

demo: all ## a story and an answer from the model that is built in
	@echo
	$B/ruvm run -p 'Once upon a time' -n 140 --temp 0
	@echo
	@printf '$(HOME_QUESTION)' > $B/question.txt
	$B/ruvm run -p "$$(cat $B/question.txt)" -n 40 --temp 0
	@echo

demo-image: all ## lib/demo.ruvm anew, after a change of the arithmetic or of tests/demo/demo.bin
	$B/ruvm quantize tests/demo/demo.bin --tokenizer tests/demo/demo-tokenizer.bin \
	    --name 'ruvm demo' -o lib/demo.ruvm

bench: all ## speed of this machine on the built-in model
	$B/ruvm bench

bench-peers: all ## DIR=folder: llama2.c and llama.cpp builds found there, interleaved with ours
	@RUVM=$B/ruvm bash tests/bench_peers.sh "$(DIR)"

bench-peer-quality: all ## DIR=source LLAMA=build: KL of llama.cpp's types beside ours
	@BUILDDIR=$B bash tests/bench_peer_quality.sh $(DIR) $(LLAMA)

# ---- checking ----------------------------------------------------------------

# The scripts' view of this file.
export CORE
SHARED_MODELS := $(abspath ../shared/models)
ifneq ($(wildcard $(SHARED_MODELS)),)
export RUVM_SHARED_MODELS := $(SHARED_MODELS)
endif

check: ## every test; ends with "N passed, N failed, N skipped"
	@bash tests/check.sh

check-core: ## the chip side: its symbols, on this machine, AArch64 and RV32
	@bash tests/core.sh

check-laws: $B/libruvm.a ## includes, names, format, manual pages, scripts
	@bash tests/laws.sh $B/libruvm.a

check-fuzz: ## replays the fuzz corpora under the sanitizers
	@$(MAKE) --no-print-directory V=asan CC=gcc replays
	@bash tests/fuzz.sh build/asan

check-install: ## installs, uses and uninstalls in a temporary folder
	@bash tests/install.sh

check-format: ## whether `make format` would change anything
	@clang-format --dry-run -Werror $(C_FILES)

lint: ## mandoc, shellcheck and clang's analyzer
	mandoc -Tlint -Wwarning $(wildcard man/*)
	shellcheck $(wildcard tests/*.sh tests/*/*.sh) .ci/run
	$(MAKE) CC=clang V=debug CFLAGS='--analyze -Xanalyzer -analyzer-output=text' \
		B=build/lint analyze

analyze: $(LIB_SRC:%.c=$B/%.o) $(CLI_OBJ)

replays: $(REPLAYS)
fuzzers: $(FUZZ_BIN)

fuzz: ## libFuzzer on each parser for FUZZ_SECONDS (60)
	@$(MAKE) --no-print-directory V=fuzz CC=clang fuzzers
	@for f in $(FUZZERS); do \
		mkdir -p build/corpus/$$f && \
		build/fuzz-clang/tests/fuzz/fuzz_$$f -max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 \
			-artifact_prefix=build/corpus/$$f- build/corpus/$$f tests/fuzz/corpus/$$f || exit 1; \
	done

cov: ## lines covered by the Criterion tests and the command lines of tests/cli
	@command -v gcovr >/dev/null || { echo 'gcovr is missing: apt-get install gcovr'; exit 1; }
	@$(MAKE) --no-print-directory V=cov CC=gcc all tests
	@find build/cov -name '*.gcda' -delete
	@for t in $(TEST_DIRS); do build/cov/tests/$$t/test --quiet || exit 1; done
	@RUVM=build/cov/ruvm bash tests/cli/run.sh | grep '^not ok' || true
	@gcovr --root . --object-directory build/cov --exclude tests/ --print-summary

code: ## bytes of code, data and stack of the chip side, by function
	@bash tests/code.sh

format: ## formats all C files (clang-format 14)
	clang-format -i $(C_FILES)

# ---- installing --------------------------------------------------------------

bindir = $(PREFIX)/bin
libdir = $(PREFIX)/lib
includedir = $(PREFIX)/include
mandir = $(PREFIX)/share/man
datadir = $(PREFIX)/share
MAN := $(wildcard man/*.[157])

TOOL_HEADERS := $(patsubst lib/%,%,$(wildcard lib/tool/*.h))

# What is installed, source:target; one list for install and uninstall. Firmware is installed
# where it was built.
INSTALLED = \
	$B/ruvm:$(bindir)/ruvm \
	$B/libruvm.a:$(libdir)/libruvm.a \
	$B/ruvm.pc:$(libdir)/pkgconfig/ruvm.pc \
	$(foreach h,ruvm.h ruvm_tool.h base/status.h $(TOOL_HEADERS),lib/$h:$(includedir)/ruvm/$h) \
	$(foreach m,$(MAN),$m:$(mandir)/man$(patsubst .%,%,$(suffix $m))/$(notdir $m)) \
	completions/ruvm.bash:$(datadir)/bash-completion/completions/ruvm \
	completions/_ruvm:$(datadir)/zsh/site-functions/_ruvm \
	completions/ruvm.fish:$(datadir)/fish/vendor_completions.d/ruvm.fish \
	$(foreach f,$(wildcard $(foreach e,$(FW_PROGRAMS) direct.elf,build/firmware/*/$e)),$f:$(datadir)/ruvm/firmware/$(f:build/firmware/%=%))

$B/ruvm.pc: lib/ruvm.pc.in lib/ruvm.h FORCE
	@mkdir -p $B
	@sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' lib/ruvm.pc.in > $@

install: all $B/ruvm.pc ## installs below $(DESTDIR)$(PREFIX)
	@set -e; for pair in $(INSTALLED); do \
		mode=644; test "$${pair##*:}" != '$(bindir)/ruvm' || mode=755; \
		install -D -m $$mode "$${pair%%:*}" "$(DESTDIR)$${pair##*:}"; \
	done

uninstall: ## removes what `make install` installed
	@for pair in $(INSTALLED); do rm -f "$(DESTDIR)$${pair##*:}"; done
	@cd "$(DESTDIR)$(includedir)" 2>/dev/null && rmdir ruvm/base ruvm/tool ruvm 2>/dev/null || true
	@cd "$(DESTDIR)$(datadir)" 2>/dev/null && rmdir ruvm/firmware/* ruvm/firmware ruvm 2>/dev/null || true

# ---- the rest ----------------------------------------------------------------

dist: ## ruvm-<version>.tar.gz of the last commit, in build/
	@mkdir -p build
	git archive --prefix=ruvm-$(VERSION)/ -o build/ruvm-$(VERSION).tar.gz HEAD
	@ls -l build/ruvm-$(VERSION).tar.gz

core-list:
	@echo $(CORE)

clean: ## removes build/
	rm -rf build

help: ## this list
	@sed -n '1s/^# //p; 3,/^$$/s/^#//p' Makefile
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1 \2/p' Makefile | \
		while read -r name text; do printf '  %-14s %s\n' "$$name" "$$text"; done

.PHONY: FORCE firmware demo-image all tests deps deps-test demo bench bench-peers bench-peer-quality check check-core check-laws \
	check-fuzz check-install check-format lint analyze replays fuzzers fuzz cov code format \
	install uninstall dist core-list clean help
