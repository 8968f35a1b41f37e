"""Tasks that train."""

from prefect import task
from prefect.cache_policies import NO_CACHE

from logllm_core.store.store import Artifact, Store
from logllm_core.training import stage
from logllm_core.training.plan import Execution, StagePlan


@task(task_run_name="train-stage-{plan.stage.name}", cache_policy=NO_CACHE)
def train_stage(store: Store, plan: StagePlan, execution: Execution) -> Artifact:
    return stage.train_stage(store, plan, execution)


@task(task_run_name="find-stage-{plan.stage.name}", cache_policy=NO_CACHE)
def find_stage(store: Store, plan: StagePlan) -> Artifact:
    return stage.find_stage(store, plan)
