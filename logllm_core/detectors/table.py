"""The table of methods, in the order of the paper's Table II."""

from collections.abc import Mapping

from logllm_core.detectors import (
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
from logllm_core.detectors.interface import Method

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
