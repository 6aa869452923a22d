using System.Text.Json.Nodes;
using Edge.ApiServer.Resources;
using Edge.Kubernetes;

namespace Edge.ApiServer.Auth.Rbac;

/// <summary>The ClusterRoles and ClusterRoleBindings that every cluster has (Kubernetes' "Default roles and role bindings"), as far as this server has what they are about.
/// Made at start where they are missing; rules that an existing one lacks are added, unless its annotation <c>rbac.authorization.kubernetes.io/autoupdate</c> says false.</summary>
internal static class DefaultRoles
{
    private const string AutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";
    private const string Aggregate = "rbac.authorization.k8s.io/aggregate-to-";
    private const string Read = "get list watch";
    private const string Write = "create delete deletecollection patch update";
    private const string EdgeGroups = "devices.kubeedge.io apps.kubeedge.io rules.kubeedge.io operations.kubeedge.io policy.kubeedge.io gslb.edge.io reliablesyncs.kubeedge.io";

    // NAME [> AGGREGATED-TO] : VERBS | GROUPS ("-" the core group) | RESOURCES, or VERBS | PATHS
    private static readonly (string Name, string To, string[] Rules)[] s_roles =
    [
        ("cluster-admin", "", ["* | * | *", "* | /*"]),
        ("system:discovery", "", ["get | /api /api/* /apis /apis/* /healthz /livez /openapi /openapi/* /readyz /version /version/"]),
        ("system:public-info-viewer", "", ["get | /healthz /livez /readyz /version /version/"]),
        ("system:basic-user", "", ["create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews", "create | authentication.k8s.io | selfsubjectreviews"]),
        ("system:auth-delegator", "", ["create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | subjectaccessreviews"]),
        ("system:monitoring", "", ["get | /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/*"]),
        ("system:certificates.k8s.io:certificatesigningrequests:nodeclient", "", ["create | certificates.k8s.io | certificatesigningrequests/nodeclient"]),
        ("system:certificates.k8s.io:certificatesigningrequests:selfnodeclient", "", ["create | certificates.k8s.io | certificatesigningrequests/selfnodeclient"]),
        ("system:node", "",
        [
            "create | authentication.k8s.io | tokenreviews", "create | authorization.k8s.io | localsubjectaccessreviews subjectaccessreviews", $"{Read} | - | services", "create get list watch | - | nodes",
            "patch update | - | nodes nodes/status", "create patch update | - | events", $"{Read} | - | pods", "delete | - | pods", "patch update | - | pods/status",
            "create get list watch | certificates.k8s.io | certificatesigningrequests", "create delete get patch update | coordination.k8s.io | leases", "get | - | persistentvolumeclaims persistentvolumes",
            $"{Read} | - | configmaps secrets", "create | - | serviceaccounts/token", "get | - | serviceaccounts", $"{Read} | node.k8s.io | runtimeclasses",
        ]),
        ("system:aggregate-to-admin", "admin", ["create | authorization.k8s.io | localsubjectaccessreviews", $"{Write} {Read} | {RbacIndex.Group} | rolebindings roles"]),
        ("system:aggregate-to-edit", "edit",
        [
            $"{Read} | - | pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy", "impersonate | - | serviceaccounts",
            $"{Write} | - | pods pods/attach pods/exec pods/portforward pods/proxy", "create | - | pods/eviction",
            $"{Write} | - | configmaps events persistentvolumeclaims secrets serviceaccounts services services/proxy", "create | - | serviceaccounts/token",
            $"{Write} | apps | daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale",
            $"{Write} | batch | cronjobs jobs", $"{Write} | policy | poddisruptionbudgets", $"{Write} {Read} | coordination.k8s.io | leases",
        ]),
        ("system:aggregate-to-view", "view",
        [
            $"{Read} | - | configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods serviceaccounts services services/status",
            $"{Read} | - | bindings events limitranges namespaces/status pods/log pods/status resourcequotas resourcequotas/status", $"{Read} | - | namespaces",
            $"{Read} | discovery.k8s.io | endpointslices",
            $"{Read} | apps | controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status",
            $"{Read} | batch | cronjobs cronjobs/status jobs jobs/status", $"{Read} | policy | poddisruptionbudgets poddisruptionbudgets/status", $"{Read} | metrics.k8s.io | pods",
        ]),
        // KubeEdge's own kinds, which in a cluster of others whoever installs the definitions has to add.
        ("edge:aggregate-to-edit", "edit", [$"{Write} | {EdgeGroups} | *"]),
        ("edge:aggregate-to-view", "view", [$"{Read} | {EdgeGroups} | *"]),
    ];

    private static readonly (string Name, string[] From, string? Into)[] s_gathering = [("admin", ["admin", "edit", "view"], null), ("edit", ["edit", "view"], "admin"), ("view", ["view"], "edit")];

    private static readonly (string Role, string[] Groups)[] s_bindings =
    [
        ("cluster-admin", [UserIdentity.Masters]),
        ("system:discovery", [UserIdentity.Authenticated]),
        ("system:basic-user", [UserIdentity.Authenticated]),
        ("system:public-info-viewer", [UserIdentity.Authenticated, "system:unauthenticated"]),
        ("system:monitoring", ["system:monitoring"]),
    ];

    public static IEnumerable<JsonObject> Roles()
    {
        foreach (var (name, to, rules) in s_roles)
        {
            var role = New("ClusterRole", name);
            if (to.Length > 0)
                role.Child("metadata").Child("labels")[Aggregate + to] = "true";
            role["rules"] = new JsonArray([.. rules.Select(rule => Rule(rule).ToJson())]);
            yield return role;
        }

        foreach (var (name, from, into) in s_gathering)
        {
            var role = New("ClusterRole", name);
            if (into is not null)
                role.Child("metadata").Child("labels")[Aggregate + into] = "true";
            role["aggregationRule"] = new JsonObject
            {
                ["clusterRoleSelectors"] = new JsonArray([.. from.Select(one => new JsonObject { ["matchLabels"] = new JsonObject { [Aggregate + one] = "true" } })]),
            };
            yield return role;
        }
    }

    public static IEnumerable<JsonObject> Bindings() => s_bindings.Select(pair =>
    {
        var binding = New("ClusterRoleBinding", pair.Role);
        binding["roleRef"] = new JsonObject { ["apiGroup"] = RbacIndex.Group, ["kind"] = "ClusterRole", ["name"] = pair.Role };
        binding["subjects"] = new JsonArray([.. pair.Groups.Select(group => new JsonObject { ["apiGroup"] = RbacIndex.Group, ["kind"] = "Group", ["name"] = group })]);
        return binding;
    });

    /// <summary>Makes what is missing; all at once, so that they share commits.</summary>
    public static async Task EnsureAsync(ObjectApi api, CancellationToken cancellationToken)
    {
        await Task.WhenAll(Roles().Select(role => EnsureAsync(api, BuiltinResources.ClusterRoles, role, cancellationToken)));
        await Task.WhenAll(Bindings().Select(binding => EnsureAsync(api, BuiltinResources.ClusterRoleBindings, binding, cancellationToken)));
    }

    private static Task EnsureAsync(ObjectApi api, ServedResource resource, JsonObject wanted, CancellationToken cancellationToken)
    {
        if (api.Store.Get(resource.Id, "", wanted.Name()) is not { } stored)
            return api.CreateAsync(resource, "", wanted, new WriteOptions(), cancellationToken);
        var kept = stored.Parse();
        if (kept.Annotation(AutoUpdate) != "true" || wanted["aggregationRule"] is not null || PolicyRule.Covers(PolicyRule.OfRole(kept), PolicyRule.OfRole(wanted), out _))
            return Task.CompletedTask;
        return api.ChangeAsServerAsync(
            resource, "", wanted.Name(),
            tree =>
            {
                if (!PolicyRule.Covers(PolicyRule.OfRole(tree), PolicyRule.OfRole(wanted), out var missing))
                    tree["rules"] = new JsonArray([.. tree.Items("rules").Select(rule => rule.DeepClone()), .. missing.Select(rule => rule.ToJson())]);
                return tree;
            },
            dryRun: false, cancellationToken);
    }

    private static PolicyRule Rule(string text)
    {
        var parts = text.Split('|').Select(part => (IReadOnlyList<string>)[.. part.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(word => word == "-" ? "" : word)]).ToList();
        return parts.Count == 2 ? new PolicyRule(parts[0], [], [], [], parts[1]) : new PolicyRule(parts[0], parts[1], parts[2], [], []);
    }

    private static JsonObject New(string kind, string name) => new()
    {
        ["apiVersion"] = RbacIndex.Group + "/v1",
        ["kind"] = kind,
        ["metadata"] = new JsonObject
        {
            ["name"] = name,
            ["labels"] = new JsonObject { ["kubernetes.io/bootstrapping"] = "rbac-defaults" },
            ["annotations"] = new JsonObject { [AutoUpdate] = "true" },
        },
    };
}
