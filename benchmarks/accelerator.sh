#!/usr/bin/env bash
# Every measurement that needs a GPU, in under 8 minutes, from an image that has Python and torch:
#
#     benchmarks/accelerator.sh [OUT]          figures and logs into OUT (default: accelerator_out)
#     QUICK=1 benchmarks/accelerator.sh        a few turns of everything, on a CPU too, as a check that it runs
#
# pip installs the missing packages and their dependencies; without a network, PIP_FIND_LINKS names a folder of wheels and
# PIP_NO_INDEX=1 switches the index off. torch is not changed. Without rclpy the part over DDS is left out with a note; ONNX Runtime is
# measured where onnxruntime-gpu is installed. Every part has its own log; a part that fails does not stop the others.
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=$(mkdir -p "${1:-accelerator_out}" && cd "${1:-accelerator_out}" && pwd)
PYTHON=${PYTHON:-python3}
QUICK=${QUICK:-}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 OMP_WAIT_POLICY=PASSIVE
SECONDS=0

# A virtual environment above the given one, whose torch is not changed. Message packages need a site folder, not just a path.
below=$("$PYTHON" -c "import site; print(*site.getsitepackages(), sep=chr(10))")
site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
"$PYTHON" -m venv --without-pip "$site" || exit 1
above=$("$site/bin/python" -c "import site; print(site.getsitepackages()[0])")
for folder in $below; do echo "import site; site.addsitedir('$folder')"; done > "$above/below.pth"
BASE=$PYTHON PYTHON=$site/bin/python
"$PYTHON" -c "import torch; print('torch==' + torch.__version__)" > "$site/torch.txt" || { echo "there is no torch for $BASE" >&2; exit 1; }
install() { "$BASE" -m pip --python "$PYTHON" install -q --no-compile -c "$site/torch.txt" "$@"; }
missing() { for name in "$@"; do "$PYTHON" -c "import ${name%%=*}" 2> /dev/null || echo "${name#*=}"; done; }
# torchvision 0.x belongs to torch 2.(x - 15).
vision=torchvision==$("$PYTHON" -c "import torch; print(f'0.{int(torch.__version__.split(\".\")[1]) + 15}.*')")
packages=$(missing "torchvision=$vision" dropblock=dropblock cv2=opencv-python-headless safetensors=safetensors scipy=scipy \
  joblib=joblib sklearn=scikit-learn threadpoolctl=threadpoolctl rich=rich yaml=PyYAML psutil=psutil matplotlib=matplotlib \
  array_api_compat=array-api-compat pytest=pytest onnx=onnx onnxscript=onnxscript lightning=lightning \
  torch_uncertainty=torch-uncertainty pytorch_ood=pytorch-ood einops=einops)
if [ -n "$packages" ] && ! install $packages; then
  for name in $packages; do install "$name" || install --no-deps "$name" || echo "note: no $name" >&2; done
fi
"$PYTHON" -c "import ls_ood_monitor.cli.profile, ls_ood_monitor.profiling.frame_cost" || \
  { echo "the package cannot be imported here: a package is missing, see above" >&2; exit 1; }
if ! "$PYTHON" -c "import rclpy" 2> /dev/null; then
  if ls "${PIP_FIND_LINKS:-/nowhere}"/ros_*.whl > /dev/null 2>&1; then
    install --no-deps "$PIP_FIND_LINKS"/ros_*.whl "$PIP_FIND_LINKS"/lark*.whl
  else
    "$BASE" -m pip --python "$PYTHON" install -q $(grep -h '^ros-' requirements/ros.txt)
  fi || echo "note: no rclpy; the part over DDS is left out" >&2
fi

part() { # name, seconds it may take, command
  local name=$1 limit=$2 begin=$SECONDS
  shift 2
  # The machine is lent for minutes: on a GPU nothing starts or continues after 8 of them.
  if [ "$device" = cuda ] && [ "$limit" -gt $((480 - SECONDS)) ]; then limit=$((480 - SECONDS)); fi
  if [ "$limit" -le 0 ]; then echo "== $name: left out, the 8 minutes are over"; return; fi
  if timeout "$limit" "$@" > "$OUT/$name.log" 2>&1; then echo "== $name: done in $((SECONDS - begin)) s"; else echo "== $name: FAILED ($?) after $((SECONDS - begin)) s, see $name.log"; fi
  grep -v '^ *$' "$OUT/$name.log" | tail -n "${LINES_SHOWN:-40}"
}
profile() { "$PYTHON" -m ls_ood_monitor.cli.main profile "$@"; }
device=$("$PYTHON" -c "import torch; print('cuda' if torch.cuda.is_available() else 'cpu')")
echo "device $device, $("$PYTHON" -c "import torch; print('torch', torch.__version__, torch.cuda.get_device_name() if torch.cuda.is_available() else '')")"
repeats=$([ -n "$QUICK" ] && echo 2 || echo 15)
size=$([ -n "$QUICK" ] && echo 160x128 || echo 640x483)
fast=$([ "$device" = cuda ] && echo eager:bf16 || echo eager)
all=$([ "$device" = cuda ] && echo eager,eager:tf32,eager:fp16,eager:bf16 || echo eager)
# ONNX Runtime on the GPU is a package of its own (onnxruntime-gpu).
if "$PYTHON" -c "import onnxruntime, onnxscript, sys; sys.exit('CUDAExecutionProvider' not in onnxruntime.get_available_providers())" 2> /dev/null; then all=$all,onnx; fi
networks=$([ -n "$QUICK" ] && echo mobilenet_v2 || echo mobilenet_v2,resnet101)
resnet=$([ -n "$QUICK" ] && echo resnet18 || echo resnet101)
export -f profile
export PYTHON

# 1. Correctness: captured graphs, precisions, compiler against the CPU; the same alarms on frames of the benchmark.
part tests 90 "$PYTHON" -m pytest -q -p no:cacheprovider -o addopts=--import-mode=importlib -o filterwarnings= test/engines -k "captured or cpu or auto"
part check 40 bash -c "profile --check --networks $networks --size $size --engines $all --json '$OUT/check.json'"
part alarms 60 "$PYTHON" benchmarks/engine_alarms.py --engines "$all" --drives 2 $([ -n "$QUICK" ] && echo --kinds fog) --json "$OUT/alarms.json"
# 2. Four cameras at 30 Hz over DDS, the highest rate, memory.
if "$PYTHON" -c "import rclpy" 2> /dev/null; then
  part bundle 40 bash -c "profile --make-bundle '$OUT/bundle' --networks $resnet --size $size"
  seconds=$([ -n "$QUICK" ] && echo 2 || echo 10)
  part over_dds 100 "$PYTHON" benchmarks/end_to_end.py --bundle "$OUT/bundle" --cases '4cam-640x483-raw-30hz' --stops 0 \
    --seconds "$seconds" --search-seconds 2 $([ -n "$QUICK" ] && echo --no-search) --set engine=eager --set precision="$([ "$device" = cuda ] && echo bf16 || echo fp32)" --logs "$OUT/logs" --json "$OUT/over_dds.json"
fi
# 3. One frame: pass, monitored frame, to the alarm, and the peers. Then four at once.
part frames 110 bash -c "profile --networks $networks --size $size --engines $all --repeats $repeats --with benchmarks/peers.py --json '$OUT/frames.json'"
part four 45 bash -c "profile --networks $resnet --size $size --engines $all --cameras 4 --repeats $repeats --json '$OUT/four.json'"
# 4. Growth of the cost, and the gain of a compiler (slow for every graph, so one network).
part growth "$([ "$device" = cuda ] && echo 50 || echo 600)" bash -c "profile --networks $([ -n "$QUICK" ] && echo resnet18 || echo resnet101) --engines $fast --repeats $([ -n "$QUICK" ] && echo 1 || echo 15) --growth '$OUT/growth.png' --json '$OUT/growth.json'"
[ "$device" = cpu ] || part compiled 60 bash -c "profile --networks resnet101 --engines eager:bf16,compile:bf16 --repeats $repeats --json '$OUT/compiled.json'"
[ "$device" = cuda ] && nvidia-smi --query-gpu=name,memory.used,memory.total,driver_version --format=csv
rm -rf "$OUT/bundle"
echo "all in $SECONDS s"
