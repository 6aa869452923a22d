namespace Edge.ApiServer.Rest;

// What kubectl auth, kubectl create role|quota|token and kubectl certificate send, fields as in the generated.proto of k8s.io/api/{rbac,authorization,authentication,certificates,core}/v1.
internal static partial class ProtobufBody
{
    // A class of its own: its fields are made after those of the outer class, which they use.
    private static class Access
    {
        private static readonly Field[] s_rule = [new(1, "verbs", Form.Text, true), new(2, "apiGroups", Form.Text, true), new(3, "resources", Form.Text, true), new(4, "resourceNames", Form.Text, true), new(5, "nonResourceURLs", Form.Text, true)];

        private static readonly Field[] s_selector =
        [
            new(1, "matchLabels", Form.TextMap),
            new(2, "matchExpressions", Form.Message, true, [new(1, "key", Form.Text), new(2, "operator", Form.Text), new(3, "values", Form.Text, true)]),
        ];

        private static readonly Field[] s_binding =
        [
            s_metadata, new(2, "subjects", Form.Message, true, [new(1, "kind", Form.Text), new(2, "apiGroup", Form.Text), new(3, "name", Form.Text), new(4, "namespace", Form.Text)]),
            new(3, "roleRef", Form.Message, Fields: [new(1, "apiGroup", Form.Text), new(2, "kind", Form.Text), new(3, "name", Form.Text)]),
        ];

        private static readonly Field s_resource = new(1, "resourceAttributes", Form.Message, Fields:
        [
            new(1, "namespace", Form.Text), new(2, "verb", Form.Text), new(3, "group", Form.Text), new(4, "version", Form.Text), new(5, "resource", Form.Text), new(6, "subresource", Form.Text), new(7, "name", Form.Text),
        ]);

        private static readonly Field s_path = new(2, "nonResourceAttributes", Form.Message, Fields: [new(1, "path", Form.Text), new(2, "verb", Form.Text)]);

        private static readonly Field[] s_access =
            [s_metadata, new(2, "spec", Form.Message, Fields: [s_resource, s_path, new(3, "user", Form.Text), new(4, "groups", Form.Text, true), new(6, "uid", Form.Text)], Strict: true), new(3, "status", Form.Ignored)];

        public static readonly Dictionary<(string ApiVersion, string Kind), Field[]> Kinds = new()
        {
            [("rbac.authorization.k8s.io/v1", "Role")] = [s_metadata, new(2, "rules", Form.Message, true, s_rule)],
            [("rbac.authorization.k8s.io/v1", "ClusterRole")] =
                [s_metadata, new(2, "rules", Form.Message, true, s_rule), new(3, "aggregationRule", Form.Message, Fields: [new(1, "clusterRoleSelectors", Form.Message, true, s_selector)])],
            [("rbac.authorization.k8s.io/v1", "RoleBinding")] = s_binding,
            [("rbac.authorization.k8s.io/v1", "ClusterRoleBinding")] = s_binding,
            [("authorization.k8s.io/v1", "SubjectAccessReview")] = s_access,
            [("authorization.k8s.io/v1", "LocalSubjectAccessReview")] = s_access,
            [("authorization.k8s.io/v1", "SelfSubjectAccessReview")] = [s_metadata, new(2, "spec", Form.Message, Fields: [s_resource, s_path]), new(3, "status", Form.Ignored)],
            [("authorization.k8s.io/v1", "SelfSubjectRulesReview")] = [s_metadata, new(2, "spec", Form.Message, Fields: [new(1, "namespace", Form.Text)]), new(3, "status", Form.Ignored)],
            [("authentication.k8s.io/v1", "SelfSubjectReview")] = [s_metadata, new(2, "status", Form.Ignored)],
            [("authentication.k8s.io/v1", "TokenReview")] = [s_metadata, new(2, "spec", Form.Message, Fields: [new(1, "token", Form.Text), new(2, "audiences", Form.Text, true)]), new(3, "status", Form.Ignored)],
            [("certificates.k8s.io/v1", "CertificateSigningRequest")] =
            [
                s_metadata,
                new(2, "spec", Form.Message, Fields:
                [
                    new(1, "request", Form.Bytes), new(2, "username", Form.Text), new(3, "uid", Form.Text), new(4, "groups", Form.Text, true), new(5, "usages", Form.Text, true), new(6, "extra", Form.Ignored),
                    new(7, "signerName", Form.Text), new(8, "expirationSeconds", Form.NumberKept),
                ]),
                new(3, "status", Form.Message, Fields:
                [
                    new(1, "conditions", Form.Message, true,
                    [
                        new(1, "type", Form.Text), new(2, "reason", Form.Text), new(3, "message", Form.Text), new(4, "lastUpdateTime", Form.Time), new(5, "lastTransitionTime", Form.Time), new(6, "status", Form.Text),
                    ]),
                    new(2, "certificate", Form.Bytes),
                ]),
            ],
            [("v1", "ResourceQuota")] =
            [
                s_metadata,
                new(2, "spec", Form.Message, Fields:
                [
                    new(1, "hard", Form.QuantityMap), new(2, "scopes", Form.Text, true),
                    new(3, "scopeSelector", Form.Message, Fields: [new(1, "matchExpressions", Form.Message, true, [new(1, "scopeName", Form.Text), new(2, "operator", Form.Text), new(3, "values", Form.Text, true)])]),
                ]),
                new(3, "status", Form.Ignored),
            ],
        };
    }
}
