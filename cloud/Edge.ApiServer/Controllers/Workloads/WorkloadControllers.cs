using Edge.Kubernetes;
using Microsoft.Extensions.Logging;

namespace Edge.ApiServer.Controllers.Workloads;

/// <summary>The controllers of apps/v1, batch/v1 and policy/v1, with what each looks at.</summary>
internal static class WorkloadControllers
{
    public static IReadOnlyList<WorkloadController> Make(
        IKubeClient client, IReadOnlyDictionary<ResourceKind, SharedInformer> informers, TimeProvider time, Func<Random> random, ILogger logger)
    {
        WorkloadController One(string component, ResourceKind kind, WorkloadCore core, Func<WorkloadWorld, IEnumerable<WorkloadAction>>? sweep, params ResourceKind[] others)
            => new(client, kind, [informers[kind], .. others.Select(other => informers[other])], core, sweep, component, time, random(), logger);

        return
        [
            One("deployment-controller", ResourceKind.Deployment, DeploymentCore.Reconcile, null, ResourceKind.ReplicaSet, ResourceKind.Pod),
            One("replicaset-controller", ResourceKind.ReplicaSet, ReplicaSetCore.Reconcile, null, ResourceKind.Pod),
            One("daemonset-controller", ResourceKind.DaemonSet, DaemonSetCore.Reconcile, null, ResourceKind.Pod, ResourceKind.Node, ResourceKind.ControllerRevision),
            One("statefulset-controller", ResourceKind.StatefulSet, StatefulSetCore.Reconcile, null, ResourceKind.Pod, ResourceKind.PersistentVolumeClaim, ResourceKind.ControllerRevision),
            One("job-controller", ResourceKind.Job, JobCore.Reconcile, JobCore.Orphans, ResourceKind.Pod),
            One("cronjob-controller", ResourceKind.CronJob, CronJobCore.Reconcile, null, ResourceKind.Job),
            One("disruption-controller", ResourceKind.PodDisruptionBudget, BudgetCore.Reconcile, null, ResourceKind.Pod, ResourceKind.ReplicaSet, ResourceKind.Deployment, ResourceKind.StatefulSet),
        ];
    }
}
