"""The table of methods, in the order of the paper's Table II."""

from collections.abc import Mapping

from logllm_core.paper.building_blocks.interface import Method
from logllm_core.paper.detectors import (
    cnn,
    deeplog,
    fastlogad,
    loganomaly,
    logbert,
    logrobust,
    neurallog,
    plelog,
    rapid,
)

METHODS: Mapping[str, Method] = {
    module.METHOD.name: module.METHOD
    for module in (
        deeplog,
        loganomaly,
        plelog,
        fastlogad,
        logbert,
        logrobust,
        cnn,
        neurallog,
        rapid,
    )
}
