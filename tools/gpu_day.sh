#!/usr/bin/env bash
# Everything that is to be learnt of a machine with a GPU, in under eight minutes and without network.
#
#     tools/gpu_day.sh [DIR]        build, test, measure, profile; at most eight files in DIR, or in $OUT
#     tools/gpu_day.sh --dry-run    the steps and their limits; runs nothing
#     tools/gpu_day.sh --step NAME  one step alone, without a limit, its output on the terminal
#
# What it wants: bash 5.1, nvcc, torch for CUDA, pybind11, cmake; ninja, pytest, click, rich, Triton, compute-sanitizer and
# ncu where they are there. A step whose tool is missing is skipped, one that fails or hangs stops no other. The table of
# steps and figures is DIR/table.md, written anew after every step, so that a stop leaves what was measured.
#
# GPU_DAY_LIMITS="blocks=120 pip=0" gives steps other limits in seconds, 0 leaves a step out; GPU_DAY_BUDGET is the limit of
# the whole. What is built stays in build/gpu-day: build=0 takes it again.

set -u

SELF=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/gpu_day.sh
ROOT=$(dirname "$(dirname "$SELF")")
WORK=$ROOT/build/gpu-day
SITE=$WORK/site LOGS=$WORK/logs FACTS=$WORK/facts
export PATH=$PATH:${CUDA_HOME:-/usr/local/cuda}/bin

# name, limit in seconds, its file, whether it begins after the step before or beside it, what it cannot do without.
# Nothing is timed before the checks are over, as they share the card; profiles come last: they are what may be lost.
# Limits of what runs side by side count once.
STEPS=(
  "machine     25 machine.txt  after  -"
  "build      110 build.txt    after  python3 cmake nvcc"
  "pytest     105 checks.txt   after  python3 py:pytest gpu built"
  "memcheck   105 checks.txt   beside python3 compute-sanitizer gpu built"
  "racecheck  105 checks.txt   beside python3 compute-sanitizer gpu built"
  "synccheck  105 checks.txt   beside python3 compute-sanitizer gpu built"
  "initcheck  105 checks.txt   beside python3 compute-sanitizer gpu built"
  "pip        105 build.txt    beside python3 py:pip nvcc"
  "streams     20 checks.txt   after  python3 py:pytest gpu built"
  "ceilings    20 measured.txt after  python3 gpu built"
  "products    45 measured.txt after  python3 py:click py:rich gpu built"
  "kernels     40 measured.txt after  python3 py:click py:rich gpu built"
  "blocks      65 measured.txt after  python3 py:triton gpu"
  "ncu-product 15 profiles.txt after  python3 ncu gpu built"
  "ncu-gram    15 profiles.txt after  python3 ncu gpu built"
  "ncu-ntk     15 profiles.txt after  python3 ncu gpu built"
)
FIGURES=(ceilings products kernels blocks)
FILES=(machine.txt build.txt checks.txt measured.txt products.json kernels.json profiles.txt table.md)
KEPT=200000 # bytes of the end of a step's output; compilers and sanitizers can write without end
GRACE=5000  # ms at most from the first signal to the one that nothing survives; part of a limit

# What the steps do. Each runs in a process of its own, from the root of the repository.

# Writes down what is absent. A probe that did not come to its end proves nothing, and the step is tried.
probe() {
  local name=$1 rc
  shift
  timeout -k 1 10 "$@" </dev/null >/dev/null 2>&1
  rc=$?
  [[ $rc == 0 || $rc == 124 || $rc == 137 ]] || echo "absent $name" | tee -a "$FACTS"
}

run_machine() {
  local module capability
  : >"$FACTS"
  uname -srm
  echo "$(nproc) processors"
  command -v python3 cmake ninja nvcc compute-sanitizer ncu
  capability=$(timeout -k 1 10 nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1)
  [[ $capability =~ ^([0-9]+)\.([0-9])$ ]] && echo "architecture ${BASH_REMATCH[1]}${BASH_REMATCH[2]}" | tee -a "$FACTS"
  timeout -k 1 10 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm --format=csv,noheader |
    sed 's/^/card: /'
  command -v nvcc >/dev/null && timeout -k 1 10 nvcc --version | tail -n 2
  command -v python3 >/dev/null || return 0
  probe gpu python3 -c 'import torch; assert torch.cuda.is_available()'
  for module in pip pytest xdist click rich triton; do
    probe "py:$module" python3 -c "import $module"
  done
  timeout -k 1 10 python3 -m pip list --disable-pip-version-check 2>/dev/null |
    grep -Ei '^(torch|triton|numpy|pybind11|scikit.build.core|cmake|ninja|pytest|pytest.xdist|hypothesis) '
  return 0
}

architecture() {
  local found
  found=$(sed -n 's/^architecture //p' "$FACTS" 2>/dev/null)
  echo "${found:-90}-real"
}

# Plain CMake needs neither pip nor scikit-build-core. What is installed is put in place when it can be loaded.
run_build() {
  local generator=()
  command -v ninja >/dev/null && generator=(-G Ninja)
  rm -rf "$SITE" "$SITE.new"
  cmake -S . -B "$WORK/cmake" "${generator[@]}" -DCMAKE_BUILD_TYPE=Release -DGATENTK_CUDA=ON \
    "-DCMAKE_CUDA_ARCHITECTURES=$(architecture)" "-DPython_EXECUTABLE=$(command -v python3)" &&
    cmake --build "$WORK/cmake" --parallel "$(nproc)" &&
    mkdir -p "$SITE.new/gatentk" &&
    cp -r python/gatentk/. "$SITE.new/gatentk/" &&
    rm -f "$SITE.new"/gatentk/_c*.so &&
    cmake --install "$WORK/cmake" --prefix "$SITE.new" &&
    PYTHONPATH=$SITE.new python3 -c 'import gatentk._core, gatentk._cuda' &&
    mv "$SITE.new" "$SITE"
}

# Beside the checks, which should not wait for it; nothing uses what it installs.
run_pip() {
  rm -rf "$WORK/pip"
  nice -n 10 python3 -m pip install --no-build-isolation --no-index --no-deps --target "$WORK/pip" \
    --config-settings=cmake.define.GATENTK_CUDA=ON \
    "--config-settings=cmake.define.CMAKE_CUDA_ARCHITECTURES=$(architecture)" . &&
    PYTHONPATH=$WORK/pip python3 -c 'import gatentk._core, gatentk._cuda'
}

# Warnings of another torch are not what is asked here. compute-sanitizer has steps of its own.
on_gpu() {
  python3 -m pytest -m gpu -q --tb=short -p no:cacheprovider -o filterwarnings=default -k "not compute_sanitizer" "$@"
}

run_pytest() {
  local workers=()
  grep -qx "absent py:xdist" "$FACTS" 2>/dev/null || workers=(-n 6 --dist loadfile)
  on_gpu tests/gpu --ignore=tests/gpu/test_streams.py "${workers[@]}"
}

# Alone on the card: they ask who waits for the device and how much of its memory is in use.
run_streams() { on_gpu tests/gpu/test_streams.py; }

# Allocations of their own show accesses beyond them.
sanitize() {
  PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$@" python3 tests/cases/every_operation.py
}

# torch's kernels are not what is tested here.
sanitize_ours() { sanitize "$1" --error-exitcode 9 --print-limit 20 --kernel-name kernel_substring=gatentk; }

run_memcheck() { sanitize_ours memcheck; }
run_racecheck() { sanitize_ours racecheck; }
run_synccheck() { sanitize_ours synccheck; }

# initcheck does not see what kernels that it is told to leave out write: their results would count as never written. So
# it checks all kernels, and what it says of others than ours is their matter.
run_initcheck() {
  local all ours
  sanitize initcheck --print-limit 0 --show-backtrace device | tee "$LOGS/reads.txt"
  ((PIPESTATUS[0] == 0)) || return
  all=$(sed -n 's/^=* *ERROR SUMMARY: \([0-9]*\) .*/\1/p' "$LOGS/reads.txt")
  ours=$(grep -c '^=* *at .*gatentk' "$LOGS/reads.txt")
  echo "========= INITCHECK SUMMARY: ${all:-unknown} errors, $ours in kernels of this package"
  [[ -n $all && $ours == 0 ]]
}

gatentk_bench() { python3 -c 'from gatentk.cli import main; main()' bench --device cuda "$@"; }

run_ceilings() { python3 tools/cuda_ceilings.py; }
run_products() {
  gatentk_bench -k 8192x4096-g128 -k block-forward-8192x4096-g64 -k masked-linear-forward-4096 --out "$LOGS/products.json"
}
run_kernels() { gatentk_bench -k gram -k infinite -k pack-bits -k gate-rows --out "$LOGS/kernels.json"; }
run_blocks() { python3 tools/block_gates_triton.py; }

# The first launch of a kernel in a case of the benchmark: its full size. Clocks stay as they are in the measurements. What
# ncu gives back when it has ended the program early is not relied on: a profile has the kernel's duration.
profile() {
  ncu --clock-control none --target-processes all --kernel-name "regex:$1" --launch-count 1 --kill yes \
    --section SpeedOfLight --section WarpStateStats --section SchedulerStats --section MemoryWorkloadAnalysis \
    --section Occupancy python3 -c 'from gatentk.cli import main; main()' bench --device cuda --repeats 1 -k "$2" |
    tee "$LOGS/profile.txt"
  grep -q Duration "$LOGS/profile.txt"
}

run_ncu-product() { profile block_matmul_kernel block-forward-8192x4096-g128-bf16; }
run_ncu-gram() { profile gram_kernel gram-f32-tf32x3; }
run_ncu-ntk() { profile infinite_sweep infinite-f64; }

# How they are run. What is asked often answers in REPLY: a process less each time.

declare -A FILE LIMIT BEGAN TOOK ENDED REMARK ABSENT NAME_OF=()
FAILED=0

now() { REPLY=$((${EPOCHREALTIME//[.,]/} / 1000)); } # ms

as_seconds() { printf -v REPLY '%d.%03d' $(($1 / 1000)) $(($1 % 1000)); } # of ms, as `timeout` takes them

as_text() { printf -v REPLY '%d.%d' $(($1 / 1000)) $(($1 % 1000 / 100)); } # of ms, in seconds for readers

# Limit of a step in seconds: its own, or the one of GPU_DAY_LIMITS.
limit_of() {
  local name=$1 pair
  REPLY=$2
  for pair in ${GPU_DAY_LIMITS:-}; do
    [[ ${pair%%=*} == "$name" ]] && REPLY=${pair#*=}
  done
}

# Refuses what no step would take up.
check_limits() {
  local pair number='^(0|[1-9][0-9]{0,4})$'
  for pair in ${GPU_DAY_LIMITS:-}; do
    if [[ $pair != *=* || ! ${pair#*=} =~ $number || " ${STEPS[*]%% *} " != *" ${pair%%=*} "* ]]; then
      echo "GPU_DAY_LIMITS: expected STEP=SECONDS with a step of --dry-run, got $pair" >&2
      exit 2
    fi
  done
  if [[ ! $BUDGET =~ $number ]]; then
    echo "GPU_DAY_BUDGET: expected seconds, got $BUDGET" >&2
    exit 2
  fi
}

dry_run() {
  local row name limit file how needs sum=0 longest=0
  for row in "${STEPS[@]}"; do
    read -r name limit file how needs <<<"$row"
    limit_of "$name" "$limit"
    [[ $how == after ]] && sum=$((sum + longest)) longest=0
    ((REPLY > longest)) && longest=$REPLY
    printf '%-12s %4d s  %-6s  %-13s needs %s\n' "$name" "$REPLY" "$how" "$file" "$needs"
  done
  echo "together at most $((sum + longest)) s, steps beside each other counted once; budget $BUDGET s"
}

read_facts() {
  local fact name
  [[ -r $FACTS ]] || return
  while read -r fact name; do
    [[ $fact == absent ]] && ABSENT[$name]=1
  done <"$FACTS"
}

# Why a step cannot run; empty where it can. What the first step did not come to know is not taken for absent.
why_not() {
  local need
  REPLY=""
  for need in "$@"; do
    case $need in
      -) ;;
      built) compgen -G "$SITE/gatentk/_cuda*.so" >/dev/null || REPLY="nothing was built" ;;
      gpu) [[ -z ${ABSENT[gpu]:-} ]] || REPLY="no GPU" ;;
      py:*) [[ -z ${ABSENT[$need]:-} ]] || REPLY="${need#py:} missing" ;;
      *) command -v "$need" >/dev/null || REPLY="$need missing" ;;
    esac
    [[ -z $REPLY ]] || return
  done
}

# Starts a step in the background, if it can run and there is time.
start() {
  local name=$1 limit left reason grace term
  limit_of "$name" "$2"
  limit=$((REPLY * 1000)) FILE[$name]=$3
  now
  BEGAN[$name]=$REPLY left=$((DEADLINE - REPLY))
  shift 3
  why_not "$@"
  reason=$REPLY
  ((left < 500)) && reason="no time left"
  ((limit == 0)) && reason="limit 0"
  ((limit > left)) && limit=$((left > 0 ? left : 0))
  LIMIT[$name]=$limit
  if [[ -n $reason ]]; then
    finish "$name" "skipped: $reason"
    return
  fi
  grace=$((limit / 5 < GRACE ? limit / 5 : GRACE))
  as_seconds $((limit - grace))
  term=$REPLY
  as_seconds "$grace"
  # The interrupt lets pytest say what it has found so far; a process in the background would not hear it otherwise.
  env --default-signal=INT timeout -s INT -k "$REPLY" "$term" "$BASH" "$SELF" --step "$name" \
    >"$LOGS/$name.txt" 2>&1 </dev/null &
  NAME_OF[$!]=$name
}

# Waits for all that is running, in the order in which it ends.
collect() {
  local pid pids rc name took
  while ((${#NAME_OF[@]})); do
    wait -n -p pid "${!NAME_OF[@]}" 2>/dev/null # where bash says that a step was killed
    rc=$?
    if [[ -z ${pid:-} ]]; then # some versions forget what ended meanwhile, but not how
      pids=("${!NAME_OF[@]}")
      pid=${pids[0]}
      wait "$pid" 2>/dev/null
      rc=$?
    fi
    name=${NAME_OF[$pid]}
    unset "NAME_OF[$pid]"
    now
    took=$((REPLY - BEGAN[$name]))
    if ((rc == 0)); then
      finish "$name" ok
    elif ((rc == 124 || (rc == 137 && took >= LIMIT[$name] * 4 / 5))); then
      finish "$name" "timed out"
    else
      finish "$name" "failed rc=$rc"
    fi
  done
}

# One line, the step's output in its file, and all that is known so far in the table.
finish() {
  local name=$1 took all
  ENDED[$name]=$2 TOOK[$name]=0
  now
  as_text $((REPLY - STARTED))
  all=$REPLY
  if [[ $2 != skipped:* ]]; then
    now
    TOOK[$name]=$((REPLY - BEGAN[$name]))
    [[ $2 == ok ]] || FAILED=1
    remark_on "$name"
    publish "$name" "${FILE[$name]}"
    [[ $name == machine ]] && read_facts
  fi
  as_text "${TOOK[$name]}"
  took=$REPLY
  as_text "${LIMIT[$name]}"
  echo "$name: $2, $took s of $REPLY s, $all s in all"
  table | deliver table.md
}

# Standard input becomes a file of the folder, whole or not at all.
deliver() { cat >"$OUT/.$1.part" && mv -f "$OUT/.$1.part" "$OUT/$1"; }

# The file of a step has the output of all steps that share it and have ended.
publish() {
  local row name
  for row in "${STEPS[@]}"; do
    read -r name _ <<<"$row"
    [[ ${FILE[$name]:-} == "$2" && -n ${ENDED[$name]:-} && -s $LOGS/$name.txt ]] || continue
    echo "=== $name: ${ENDED[$name]}"
    tail -c "$KEPT" "$LOGS/$name.txt"
  done | deliver "$2"
  [[ -s $LOGS/$1.json ]] && deliver "$1.json" <"$LOGS/$1.json"
}

# What a step says of itself: the summary of checks, else the last words of what did not end well.
remark_on() {
  local name=$1 line summary="" last=""
  local summaries='^(=+ )?[0-9]+ (passed|failed|skipped|error)|(ERROR|RACECHECK|INITCHECK) SUMMARY'
  while read -r line || [[ -n $line ]]; do
    [[ $line =~ $summaries ]] && summary=$line
    [[ -n $line ]] && last=$line
  done < <(tail -c 4000 "$LOGS/$name.txt" | tr -d '\0')
  [[ -n $summary || ${ENDED[$name]} == ok ]] || summary=$last
  summary=${summary:0:120}
  REMARK[$name]=${summary//|//}
}

table() {
  local row name limit card
  card=$(sed -n 's/^card: //p' "$LOGS/machine.txt" 2>/dev/null | head -n 1)
  printf '# %s\n\n' "${card:-no card named}"
  echo "| step | limit s | took s | ended | remark |"
  echo "| --- | --- | --- | --- | --- |"
  for row in "${STEPS[@]}"; do
    read -r name _ <<<"$row"
    [[ -n ${ENDED[$name]:-} ]] || continue
    as_text "${LIMIT[$name]}"
    limit=$REPLY
    as_text "${TOOK[$name]}"
    echo "| $name | $limit | $REPLY | ${ENDED[$name]} | ${REMARK[$name]:-} |"
  done
  printf '\n| step | work | measured |\n| --- | --- | --- |\n'
  for name in "${FIGURES[@]}"; do # lines of the form "work: 1.23 ms, ..."
    [[ -n ${ENDED[$name]:-} && -s $LOGS/$name.txt ]] || continue
    sed -nE 's#\|#/#g; s#^(.+): ([0-9][0-9.]* (s|ms|us), .*)$#| '"$name"' | \1 | \2 |#p' "$LOGS/$name.txt"
  done
}

# What runs is told to end, and not waited for.
stopped() {
  local pid
  trap '' INT TERM HUP
  for pid in "${!NAME_OF[@]}"; do
    kill -TERM "$pid" 2>/dev/null
    finish "${NAME_OF[$pid]}" stopped
  done
  exit 143
}

measure() {
  local row name limit file how needs
  mkdir -p "$OUT" "$LOGS" && OUT=$(cd "$OUT" && pwd) && cd "$ROOT" || exit 2
  rm -f "$LOGS"/* "$FACTS" "${FILES[@]/#/$OUT/}" "$OUT"/.*.part
  touch "$OUT/.table.md.part" || exit 2
  now
  STARTED=$REPLY DEADLINE=$((REPLY + BUDGET * 1000))
  trap stopped INT TERM HUP
  for row in "${STEPS[@]}"; do
    read -r name limit file how needs <<<"$row"
    [[ $how == after ]] && collect
    read -ra needs <<<"$needs"
    start "$name" "$limit" "$file" "${needs[@]}"
  done
  collect
  cat "$OUT/table.md"
  exit "$FAILED"
}

usage() {
  sed -n '2,/^$/s/^# \{0,1\}//p' "$SELF"
  exit "$1"
}

BUDGET=${GPU_DAY_BUDGET:-475}
if ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] < 501)); then
  echo "gpu_day.sh: expected bash 5.1 or newer, this is $BASH_VERSION" >&2
  exit 2
fi
check_limits
case ${1:-} in
  --dry-run) dry_run ;;
  --help | -h) usage 0 ;;
  --step)
    cd "$ROOT" && mkdir -p "$LOGS" || exit 2
    declare -F "run_${2:-}" >/dev/null || usage 2
    export PYTHONPATH=$SITE PYTHONUNBUFFERED=1
    "run_$2"
    ;;
  -*) usage 2 ;;
  *)
    OUT=${1:-${OUT:-}}
    [[ -n $OUT ]] || usage 2
    measure
    ;;
esac
