namespace Edge.ApiServer.Validation;

// The types of workloads, written as in FieldTable.Types.cs.
internal static partial class FieldTable
{
    /// <summary>core/v1: what workloads make pods and claims from</summary>
    private const string TemplateTypes = """
        PodTemplateSpec metadata:ObjectMeta spec:PodSpec
        """;

    /// <summary>apps/v1</summary>
    private const string AppsTypes = """
        Deployment metadata:ObjectMeta spec:DeploymentSpec status:DeploymentStatus
        DeploymentSpec replicas:i selector!:LabelSelector template!:PodTemplateSpec strategy:DeploymentStrategy
          minReadySeconds:i revisionHistoryLimit:i paused:b progressDeadlineSeconds:i
        DeploymentStrategy type:s rollingUpdate:RollingUpdateDeployment
        RollingUpdateDeployment maxUnavailable:x maxSurge:x
        DeploymentStatus observedGeneration:i replicas:i updatedReplicas:i readyReplicas:i availableReplicas:i
          unavailableReplicas:i terminatingReplicas:i conditions:[type]DeploymentCondition collisionCount:i
        DeploymentCondition type!:s status!:s lastUpdateTime:t lastTransitionTime:t reason:s message:s
        ReplicaSet metadata:ObjectMeta spec:ReplicaSetSpec status:ReplicaSetStatus
        ReplicaSetSpec replicas:i minReadySeconds:i selector!:LabelSelector template:PodTemplateSpec
        ReplicaSetStatus replicas!:i fullyLabeledReplicas:i readyReplicas:i availableReplicas:i terminatingReplicas:i
          observedGeneration:i conditions:[type]ReplicaSetCondition
        ReplicaSetCondition type!:s status!:s lastTransitionTime:t reason:s message:s
        DaemonSet metadata:ObjectMeta spec:DaemonSetSpec status:DaemonSetStatus
        DaemonSetSpec selector!:LabelSelector template!:PodTemplateSpec updateStrategy:DaemonSetUpdateStrategy
          minReadySeconds:i revisionHistoryLimit:i
        DaemonSetUpdateStrategy type:s rollingUpdate:RollingUpdateDaemonSet
        RollingUpdateDaemonSet maxUnavailable:x maxSurge:x
        DaemonSetStatus currentNumberScheduled!:i numberMisscheduled!:i desiredNumberScheduled!:i numberReady!:i
          observedGeneration:i updatedNumberScheduled:i numberAvailable:i numberUnavailable:i collisionCount:i
          conditions:[type]DaemonSetCondition
        DaemonSetCondition type!:s status!:s lastTransitionTime:t reason:s message:s
        StatefulSet metadata:ObjectMeta spec:StatefulSetSpec status:StatefulSetStatus
        StatefulSetSpec replicas:i selector!:LabelSelector template!:PodTemplateSpec
          volumeClaimTemplates:[]PersistentVolumeClaim serviceName:s podManagementPolicy:s
          updateStrategy:StatefulSetUpdateStrategy revisionHistoryLimit:i minReadySeconds:i
          persistentVolumeClaimRetentionPolicy:StatefulSetPersistentVolumeClaimRetentionPolicy
          ordinals:StatefulSetOrdinals
        StatefulSetUpdateStrategy type:s rollingUpdate:RollingUpdateStatefulSetStrategy
        RollingUpdateStatefulSetStrategy partition:i maxUnavailable:x
        StatefulSetPersistentVolumeClaimRetentionPolicy whenDeleted:s whenScaled:s
        StatefulSetOrdinals start:i
        StatefulSetStatus observedGeneration:i replicas!:i readyReplicas:i currentReplicas:i updatedReplicas:i
          currentRevision:s updateRevision:s collisionCount:i conditions:[type]StatefulSetCondition availableReplicas:i
        StatefulSetCondition type!:s status!:s lastTransitionTime:t reason:s message:s
        ControllerRevision metadata:ObjectMeta data:* revision!:i
        """;

    /// <summary>batch/v1</summary>
    private const string BatchTypes = """
        Job metadata:ObjectMeta spec:JobSpec status:JobStatus
        JobSpec parallelism:i completions:i activeDeadlineSeconds:i podFailurePolicy:PodFailurePolicy
          successPolicy:SuccessPolicy backoffLimit:i backoffLimitPerIndex:i maxFailedIndexes:i selector:LabelSelector
          manualSelector:b template!:PodTemplateSpec ttlSecondsAfterFinished:i completionMode:s suspend:b
          podReplacementPolicy:s managedBy:s
        PodFailurePolicy rules!:[]PodFailurePolicyRule
        PodFailurePolicyRule action!:s onExitCodes:PodFailurePolicyOnExitCodesRequirement
          onPodConditions:[]PodFailurePolicyOnPodConditionsPattern
        PodFailurePolicyOnExitCodesRequirement containerName:s operator!:s values!:[+]i
        PodFailurePolicyOnPodConditionsPattern type!:s status!:s
        SuccessPolicy rules!:[]SuccessPolicyRule
        SuccessPolicyRule succeededIndexes:s succeededCount:i
        JobStatus conditions:[]JobCondition startTime:t completionTime:t active:i succeeded:i failed:i terminating:i
          completedIndexes:s failedIndexes:s uncountedTerminatedPods:UncountedTerminatedPods ready:i
        JobCondition type!:s status!:s lastProbeTime:t lastTransitionTime:t reason:s message:s
        UncountedTerminatedPods succeeded:[+]s failed:[+]s
        CronJob metadata:ObjectMeta spec:CronJobSpec status:CronJobStatus
        CronJobSpec schedule!:s timeZone:s startingDeadlineSeconds:i concurrencyPolicy:s suspend:b
          jobTemplate!:JobTemplateSpec successfulJobsHistoryLimit:i failedJobsHistoryLimit:i
        JobTemplateSpec metadata:ObjectMeta spec:JobSpec
        CronJobStatus active:[]ObjectReference lastScheduleTime:t lastSuccessfulTime:t
        """;

    /// <summary>policy/v1</summary>
    private const string PolicyTypes = """
        PodDisruptionBudget metadata:ObjectMeta spec:PodDisruptionBudgetSpec status:PodDisruptionBudgetStatus
        PodDisruptionBudgetSpec minAvailable:x selector:LabelSelector maxUnavailable:x unhealthyPodEvictionPolicy:s
        PodDisruptionBudgetStatus observedGeneration:i disruptedPods:{}t disruptionsAllowed!:i currentHealthy!:i
          desiredHealthy!:i expectedPods!:i conditions:[type]Condition
        """;
}
