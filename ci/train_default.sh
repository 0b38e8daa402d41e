#!/usr/bin/env bash
# Train the model that ships, from nothing, in at most 20 minutes on two cores:
#   ci/train_default.sh [options of `dask mlsched train`, such as --resume]
# Writes default.safetensors, its card default.md and the learning curves to dask_mlsched/models.
# shellcheck source=environment.sh
source "$(dirname "${BASH_SOURCE[0]}")/environment.sh"
use_environment newest
dask="$(dirname "$python")/dask"
models=dask_mlsched/models
"$dask" mlsched train --out "$models/default.safetensors" --budget 960s --processes 2 --seed 0 \
    --search-rounds 100 "$@"
work="$models/default.training"
"$dask" mlsched evaluate --model "$models/default.safetensors" --processes 2 \
    --markdown "$work/figures.md"
for other in linear network; do
    "$dask" mlsched evaluate --model "$work/$other.safetensors" --processes 2 --summary \
        --markdown "$work/$other.md"
done
{
    cat "$models/default.md"
    echo
    cat "$work/figures.md"
    for other in linear network; do
        printf '\n# The best %s of this training\n\n' "${other/linear/linear score}"
        cat "$work/$other.md"
    done
    cat <<'LIMITS'

## Limits

Trained and judged in the simulator alone, on one or two workers with one thread each, LRU
eviction, no noise on compute times and copies at one speed in both directions. Where everything
fits, or where nothing moves but what has to, there is nothing to win. The worst ratios above are
those of DAGs to which a score that is the same for all DAGs does not fit: one that is specialised
to the DAG does better.
LIMITS
} >"$work/card.md"
mv "$work/card.md" "$models/default.md"
rm -r "$work"
