# Stands for Python in a plan: sh stub.sh -m oncology fit CASE --out OUT --resume ...
# Writes a line to EVENTS (the environment's) when it begins and ends; files in the case's folder tell how it ends.
case=$4 out=$6 work=$6.tmp-$$
rank=${PMI_RANK:-${OMPI_COMM_WORLD_RANK:-${PMIX_RANK:-0}}}  # MPICH, Open MPI, others that speak PMIx
[ "$rank" -gt 0 ] && { while kill -0 $PPID 2>/dev/null && [ ! -e "$out.done" ]; do sleep 0.02; done; exit 0; }
name=$(basename "$case")
trap 'echo "= $name" >> "$EVENTS"; exit 75' USR1
echo "+ $name" >> "$EVENTS"
echo "some library says hello" >&2
end() { touch "$out.done"; sleep 0.05; rm -f "$out.done"; echo "- $name" >> "$EVENTS"; exit "$1"; }
[ -e "$case/broken" ] && { echo "oncology: $case/case.toml: $(cat "$case/broken")" >&2; end 2; }
[ -e "$case/crashes" ] && { echo "- $name" >> "$EVENTS"; kill -SEGV $$; }
[ -e "$case/silent" ] && { echo "- $name" >> "$EVENTS"; exit 3; }
while [ -e "$case/waits" ]; do sleep 0.05; done
sleep "0.0$(($$ % 7))"
mkdir -p "$work"
cp "$ESTIMATE" "$work/estimate.json"
mv "$work" "$out"
end 0
