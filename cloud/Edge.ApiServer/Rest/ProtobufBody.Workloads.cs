namespace Edge.ApiServer.Rest;

// The workloads that kubectl create makes, fields as in the generated.proto of k8s.io/api/{core,apps,batch,policy}/v1. A pod's spec has many
// more fields than kubectl create sets: one that is not here is refused, never dropped.
internal static partial class ProtobufBody
{
    // A class of its own: its fields are made after those of the outer class, which they use.
    private static class Workload
    {
        private static readonly Field[] s_labelSelector =
        [
            new(1, "matchLabels", Form.TextMap),
            new(2, "matchExpressions", Form.Message, true, [new(1, "key", Form.Text), new(2, "operator", Form.Text), new(3, "values", Form.Text, true)]),
        ];

        private static readonly Field[] s_containerPort =
            [new(1, "name", Form.Text), new(2, "hostPort", Form.Number), new(3, "containerPort", Form.Number), new(4, "protocol", Form.Text), new(5, "hostIP", Form.Text)];

        private static readonly Field[] s_container =
        [
            new(1, "name", Form.Text), new(2, "image", Form.Text), new(3, "command", Form.Text, true), new(4, "args", Form.Text, true), new(5, "workingDir", Form.Text),
            new(6, "ports", Form.Message, true, s_containerPort, true), new(7, "env", Form.Message, true, [new(1, "name", Form.Text), new(2, "value", Form.Text)], true),
            new(8, "resources", Form.Message, false, [new(1, "limits", Form.QuantityMap), new(2, "requests", Form.QuantityMap)], true),
            new(9, "volumeMounts", Form.Message, true,
                [new(1, "name", Form.Text), new(2, "readOnly", Form.Bool), new(3, "mountPath", Form.Text), new(4, "subPath", Form.Text), new(5, "mountPropagation", Form.Text), new(6, "subPathExpr", Form.Text)], true),
            new(13, "terminationMessagePath", Form.Text), new(14, "imagePullPolicy", Form.Text), new(16, "stdin", Form.Bool), new(17, "stdinOnce", Form.Bool), new(18, "tty", Form.Bool),
            new(20, "terminationMessagePolicy", Form.Text),
        ];

        private static readonly Field[] s_podSpec =
        [
            new(2, "containers", Form.Message, true, s_container, true), new(3, "restartPolicy", Form.Text), new(4, "terminationGracePeriodSeconds", Form.NumberKept),
            new(5, "activeDeadlineSeconds", Form.NumberKept), new(6, "dnsPolicy", Form.Text), new(7, "nodeSelector", Form.TextMap), new(8, "serviceAccountName", Form.Text),
            new(9, "serviceAccount", Form.Text), new(10, "nodeName", Form.Text), new(11, "hostNetwork", Form.Bool), new(12, "hostPID", Form.Bool), new(13, "hostIPC", Form.Bool),
            new(14, "securityContext", Form.Message, false, [], true), new(15, "imagePullSecrets", Form.Message, true, [new(1, "name", Form.Text)]), new(16, "hostname", Form.Text),
            new(17, "subdomain", Form.Text), new(19, "schedulerName", Form.Text), new(20, "initContainers", Form.Message, true, s_container, true), new(21, "automountServiceAccountToken", Form.BoolKept),
            new(22, "tolerations", Form.Message, true,
                [new(1, "key", Form.Text), new(2, "operator", Form.Text), new(3, "value", Form.Text), new(4, "effect", Form.Text), new(5, "tolerationSeconds", Form.NumberKept)], true),
            new(24, "priorityClassName", Form.Text), new(25, "priority", Form.NumberKept), new(30, "enableServiceLinks", Form.BoolKept), new(31, "preemptionPolicy", Form.Text),
        ];

        private static readonly Field[] s_podTemplate = [s_metadata, new(2, "spec", Form.Message, false, s_podSpec, true)];

        public static readonly Field[] Deployment =
        [
            new(1, "replicas", Form.NumberKept), new(2, "selector", Form.Message, false, s_labelSelector, true), new(3, "template", Form.Message, false, s_podTemplate, true),
            new(4, "strategy", Form.Message, false,
                [new(1, "type", Form.Text), new(2, "rollingUpdate", Form.Message, false, [new(1, "maxUnavailable", Form.IntOrString), new(2, "maxSurge", Form.IntOrString)], true)], true),
            new(5, "minReadySeconds", Form.Number), new(6, "revisionHistoryLimit", Form.NumberKept), new(7, "paused", Form.Bool), new(9, "progressDeadlineSeconds", Form.NumberKept),
        ];

        public static readonly Field[] Job =
        [
            new(1, "parallelism", Form.NumberKept), new(2, "completions", Form.NumberKept), new(3, "activeDeadlineSeconds", Form.NumberKept), new(4, "selector", Form.Message, false, s_labelSelector, true),
            new(5, "manualSelector", Form.BoolKept), new(6, "template", Form.Message, false, s_podTemplate, true), new(7, "backoffLimit", Form.NumberKept), new(8, "ttlSecondsAfterFinished", Form.NumberKept),
            new(9, "completionMode", Form.Text), new(10, "suspend", Form.BoolKept), new(14, "podReplacementPolicy", Form.Text),
        ];

        public static readonly Field[] CronJob =
        [
            new(1, "schedule", Form.Text), new(2, "startingDeadlineSeconds", Form.NumberKept), new(3, "concurrencyPolicy", Form.Text), new(4, "suspend", Form.BoolKept),
            new(5, "jobTemplate", Form.Message, false, [s_metadata, new(2, "spec", Form.Message, false, Job, true)], true), new(6, "successfulJobsHistoryLimit", Form.NumberKept),
            new(7, "failedJobsHistoryLimit", Form.NumberKept), new(8, "timeZone", Form.Text),
        ];

        public static readonly Field[] Budget =
        [
            new(1, "minAvailable", Form.IntOrString), new(2, "selector", Form.Message, false, s_labelSelector, true), new(3, "maxUnavailable", Form.IntOrString), new(4, "unhealthyPodEvictionPolicy", Form.Text),
        ];
    }
}
