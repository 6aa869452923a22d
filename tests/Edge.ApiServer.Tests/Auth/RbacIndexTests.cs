using System.Text.Json.Nodes;
using Edge.ApiServer.Auth;
using Edge.ApiServer.Auth.Rbac;
using Edge.ApiServer.Resources;
using Edge.ApiServer.Storage;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Auth;

[Trait("Category", "Unit")]
public sealed class RbacIndexTests
{
    private readonly RbacIndex _index = new();
    private long _version;

    [Fact]
    public void A_rule_matches_verbs_groups_resources_subresources_names_and_paths_as_Kubernetes_does()
    {
        var rule = Rule("""{"verbs":["get","list"],"apiGroups":["","apps"],"resources":["pods","deployments/scale","*/status"]}""");
        Assert.True(Allows(rule, "get", "", "pods"));
        Assert.False(Allows(rule, "watch", "", "pods"));
        Assert.False(Allows(rule, "get", "batch", "pods"));
        Assert.False(Allows(rule, "get", "", "pods", "log"));
        Assert.True(Allows(rule, "get", "apps", "deployments", "scale"));
        Assert.False(Allows(rule, "get", "apps", "deployments"));
        Assert.True(Allows(rule, "get", "", "nodes", "status"));

        var named = Rule("""{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"resourceNames":["one"]}""");
        Assert.True(Allows(named, "delete", "x.io", "things", "any", "one"));
        Assert.False(Allows(named, "delete", "x.io", "things", "", "two"));
        Assert.False(Allows(named, "list", "x.io", "things")); // a list is about no name

        var paths = Rule("""{"verbs":["get"],"nonResourceURLs":["/healthz","/api/*"]}""");
        Assert.True(paths.Allows(new AccessRequest(User("u"), "get") { Path = "/healthz" }));
        Assert.True(paths.Allows(new AccessRequest(User("u"), "get") { Path = "/api/v1" }));
        Assert.False(paths.Allows(new AccessRequest(User("u"), "get") { Path = "/healthz/x" }));
        Assert.False(Allows(paths, "get", "", "pods"));
    }

    [Fact]
    public void A_role_binding_grants_in_its_namespace_and_a_cluster_role_binding_everywhere()
    {
        Put("ClusterRole", "", "reader", """{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}""");
        Put("RoleBinding", "a", "jane", Binding("ClusterRole", "reader", """{"kind":"User","name":"jane"}"""));
        Put("ClusterRoleBinding", "", "ops", Binding("ClusterRole", "reader", """{"kind":"Group","name":"ops"}"""));
        Put("RoleBinding", "b", "robot", Binding("ClusterRole", "reader", """{"kind":"ServiceAccount","name":"robot","namespace":"c"}"""));

        Assert.Equal("RBAC: allowed by RoleBinding \"jane/a\" of ClusterRole \"reader\" to User \"jane\"", Decide(User("jane"), "a").Reason);
        Assert.False(Decide(User("jane"), "b").IsAllowed);
        Assert.False(Decide(User("jane"), "").IsAllowed); // all namespaces are more than one
        Assert.True(Decide(User("x", "ops"), "").IsAllowed);
        Assert.True(Decide(User("x", "ops"), "anywhere").IsAllowed);
        Assert.True(Decide(UserIdentity.ServiceAccount("c", "robot"), "b").IsAllowed);
        Assert.False(Decide(UserIdentity.ServiceAccount("b", "robot"), "b").IsAllowed);
        Assert.False(Decide(User("robot"), "b").IsAllowed);
    }

    [Fact]
    public void Changes_count_at_once_and_a_role_that_is_missing_is_told()
    {
        Put("RoleBinding", "a", "jane", Binding("Role", "reader", """{"kind":"User","name":"jane"}"""));
        Assert.Equal(new AccessDecision(false, "RBAC: role.rbac.authorization.k8s.io \"reader\" not found"), Decide(User("jane"), "a"));
        Put("Role", "b", "reader", """{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}""");
        Assert.False(Decide(User("jane"), "a").IsAllowed); // a role of another namespace
        Put("Role", "a", "reader", """{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}""");
        Assert.True(Decide(User("jane"), "a").IsAllowed);
        Put("Role", "a", "reader", """{"rules":[{"verbs":["list"],"apiGroups":[""],"resources":["pods"]}]}""");
        Assert.False(Decide(User("jane"), "a").IsAllowed);
        Put("Role", "a", "reader", """{"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]}""");
        Put("RoleBinding", "a", "jane", Binding("Role", "reader", """{"kind":"User","name":"joe"}"""));
        Assert.False(Decide(User("jane"), "a").IsAllowed);
        Assert.True(Decide(User("joe"), "a").IsAllowed);
        Put("RoleBinding", "a", "jane", "{}", isDeleted: true);
        Assert.Equal(new AccessDecision(false, ""), Decide(User("joe"), "a"));
    }

    /// <summary>Random roles, bindings and deletions: the index, kept by changes, always decides as a plain look at all objects does.</summary>
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_index_decides_as_a_search_of_all_objects_does(int seed)
    {
        var random = new Random(seed);
        var objects = new Dictionary<(string Kind, string Namespace, string Name), JsonObject>();
        string Pick(params string[] of) => of[random.Next(of.Length)];
        for (var step = 0; step < 600; step++)
        {
            var kind = Pick("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding");
            var (ns, name) = (kind.StartsWith("Cluster", StringComparison.Ordinal) ? "" : Pick("a", "b"), Pick("n1", "n2", "n3"));
            if (random.Next(4) == 0)
            {
                objects.Remove((kind, ns, name));
                Put(kind, ns, name, "{}", isDeleted: true);
            }
            else
            {
                var text = kind.EndsWith("Role", StringComparison.Ordinal)
                    ? $$"""{"rules":[{"verbs":["{{Pick("get", "list", "*")}}"],"apiGroups":[""],"resources":["{{Pick("pods", "secrets", "*")}}"]}]}"""
                    : Binding(ns.Length > 0 ? Pick("Role", "ClusterRole") : "ClusterRole", Pick("n1", "n2", "n3"), $$"""{"kind":"{{Pick("User", "Group")}}","name":"{{Pick("u", "v")}}"}""", """{"kind":"User","name":"u"}""");
                objects[(kind, ns, name)] = Json.Object(text);
                Put(kind, ns, name, text);
            }

            var request = new AccessRequest(User(Pick("u", "v", "w"), Pick("u", "v")), Pick("get", "list")) { Resource = Pick("pods", "secrets"), Namespace = Pick("a", "b", "") };
            var expected = objects.Where(pair => pair.Key.Kind.EndsWith("Binding", StringComparison.Ordinal) && (pair.Key.Namespace.Length == 0 || pair.Key.Namespace == request.Namespace))
                .Where(pair => pair.Value.Items("subjects").Any(subject => subject.Text("kind") == "User" ? subject.Text("name") == request.User.Name : request.User.Groups.Contains(subject.Text("name"))))
                .Select(pair => (pair.Value.Text("roleRef", "kind"), pair.Value.Text("roleRef", "kind") == "ClusterRole" ? "" : pair.Key.Namespace, pair.Value.Text("roleRef", "name")))
                .Any(key => objects.TryGetValue(key, out var role) && PolicyRule.OfRole(role).Any(rule => rule.Allows(request)));
            Assert.True(expected == _index.Decide(request).IsAllowed, $"seed {seed} step {step}: {request.Verb} {request.Resource} in '{request.Namespace}' by {request.User.Name}");
        }
    }

    [Fact]
    public void Rules_that_go_beyond_those_held_are_found_atom_by_atom()
    {
        PolicyRule[] held = [Rule("""{"verbs":["get","list"],"apiGroups":["apps"],"resources":["deployments","*/scale"]}"""), Rule("""{"verbs":["get"],"nonResourceURLs":["/api/*"]}""")];
        Assert.True(PolicyRule.Covers(held, [Rule("""{"verbs":["get"],"apiGroups":["apps"],"resources":["deployments"],"resourceNames":["x"]}""")], out _));
        Assert.True(PolicyRule.Covers(held, [Rule("""{"verbs":["list"],"apiGroups":["apps"],"resources":["statefulsets/scale"]}""")], out _));
        Assert.True(PolicyRule.Covers(held, [Rule("""{"verbs":["get"],"nonResourceURLs":["/api/v1","/api/v1/*"]}""")], out _));
        Assert.False(PolicyRule.Covers(held, [Rule("""{"verbs":["get"],"nonResourceURLs":["/*"]}""")], out _));
        Assert.False(PolicyRule.Covers(held, [Rule("""{"verbs":["*"],"apiGroups":["apps"],"resources":["deployments"]}""")], out _));
        Assert.False(PolicyRule.Covers(held, [Rule("""{"verbs":["get","delete"],"apiGroups":["apps"],"resources":["deployments"]}""")], out var missing));
        Assert.Equal("""{APIGroups:["apps"], Resources:["deployments"], Verbs:["delete"]}""", Assert.Single(missing).ToString());
        PolicyRule[] named = [Rule("""{"verbs":["get"],"apiGroups":[""],"resources":["secrets"],"resourceNames":["x"]}""")];
        Assert.False(PolicyRule.Covers(named, [Rule("""{"verbs":["get"],"apiGroups":[""],"resources":["secrets"]}""")], out _));
    }

    [Fact]
    public void An_aggregating_role_has_the_rules_of_the_roles_that_it_selects()
    {
        JsonObject Of(string name, string label, string verb) => Json.Object($$$"""{"metadata":{"name":"{{{name}}}","labels":{"{{{label}}}":"true"}},"rules":[{"verbs":["{{{verb}}}"]}]}""");
        var role = Json.Object("""{"metadata":{"name":"all"},"aggregationRule":{"clusterRoleSelectors":[{"matchLabels":{"x":"true"}},{"matchLabels":{"y":"true"}}]},"rules":[{"verbs":["old"]}]}""");
        var rules = AggregationCore.Rules(role, [role, Of("b", "y", "list"), Of("a", "x", "get"), Of("c", "x", "get"), Of("d", "z", "no")]);
        Assert.Equal("""[{"verbs":["get"]},{"verbs":["list"]}]""", rules!.ToJsonString());
        Assert.Null(AggregationCore.Rules(Of("a", "x", "get"), []));
    }

    [Theory]
    [InlineData("get", "", "nodes", "n1", "", true)]
    [InlineData("patch", "", "nodes/status", "n1", "", true)]
    [InlineData("get", "", "nodes", "n2", "", false)]
    [InlineData("delete", "", "nodes", "n1", "", false)]
    [InlineData("get", "", "pods", "web", "a", true)]
    [InlineData("get", "", "pods", "other", "a", false)]
    [InlineData("patch", "", "pods/status", "web", "a", true)]
    [InlineData("create", "", "pods", "", "a", false)]
    [InlineData("get", "", "secrets", "s1", "a", true)]
    [InlineData("get", "", "secrets", "pull", "a", true)]
    [InlineData("get", "", "secrets", "env", "a", true)]
    [InlineData("get", "", "secrets", "s2", "a", false)]
    [InlineData("get", "", "secrets", "s1", "b", false)]
    [InlineData("list", "", "secrets", "", "a", false)]
    [InlineData("get", "", "configmaps", "c1", "a", true)]
    [InlineData("update", "", "configmaps", "c1", "a", false)]
    [InlineData("create", "", "serviceaccounts/token", "robot", "a", true)]
    [InlineData("create", "", "serviceaccounts/token", "admin", "a", false)]
    [InlineData("get", "", "persistentvolumeclaims", "data", "a", true)]
    [InlineData("get", "", "persistentvolumes", "pv1", "", true)]
    [InlineData("get", "", "persistentvolumes", "pv2", "", false)]
    [InlineData("update", "coordination.k8s.io", "leases", "n1", "kube-node-lease", true)]
    [InlineData("update", "coordination.k8s.io", "leases", "n2", "kube-node-lease", false)]
    [InlineData("update", "coordination.k8s.io", "leases", "n1", "kube-system", false)]
    [InlineData("get", "rbac.authorization.k8s.io", "clusterroles", "x", "", false)]
    public void A_node_may_do_what_its_own_pods_need_and_no_more(string verb, string group, string resource, string name, string ns, bool expected)
    {
        var pod = Json.Object("""
            {"metadata":{"name":"web","namespace":"a"},"spec":{"nodeName":"n1","serviceAccountName":"robot","imagePullSecrets":[{"name":"pull"}],
             "volumes":[{"name":"v","secret":{"secretName":"s1"}},{"name":"w","projected":{"sources":[{"configMap":{"name":"c1"}}]}},{"name":"x","persistentVolumeClaim":{"claimName":"data"}}],
             "containers":[{"name":"c","env":[{"name":"E","valueFrom":{"secretKeyRef":{"name":"env","key":"k"}}}]}]}}
            """);
        var parts = resource.Split('/');
        var request = new AccessRequest(User("system:node:n1", UserIdentity.Nodes), verb) { Group = group, Resource = parts[0], Subresource = parts.Length > 1 ? parts[1] : "", Name = name, Namespace = ns };
        Assert.Equal(expected, NodeRules.Allows("n1", request, node => node == "n1" ? [pod] : [], (_, claim) => claim == "data" ? Json.Object("""{"spec":{"volumeName":"pv1"}}""") : null));
    }

    [Fact]
    public void Every_default_role_and_binding_is_valid()
    {
        foreach (var role in DefaultRoles.Roles())
            Assert.Empty(Edge.ApiServer.Validation.BuiltinObjects.Validate(ResourceKind.ClusterRole, role, null));
        foreach (var binding in DefaultRoles.Bindings())
        {
            Assert.Empty(Edge.ApiServer.Validation.BuiltinObjects.Validate(ResourceKind.ClusterRoleBinding, binding, null));
            Assert.Contains(DefaultRoles.Roles(), role => role.Name() == binding.Text("roleRef", "name"));
        }
    }

    private AccessDecision Decide(UserIdentity user, string @namespace) => _index.Decide(new AccessRequest(user, "get") { Resource = "pods", Namespace = @namespace });

    private static UserIdentity User(string name, params string[] groups) => new(name, groups);

    private static PolicyRule Rule(string json) => PolicyRule.Parse(Json.Object(json));

    private static bool Allows(PolicyRule rule, string verb, string group, string resource, string subresource = "", string name = "")
        => rule.Allows(new AccessRequest(User("u"), verb) { Group = group, Resource = resource, Subresource = subresource, Name = name });

    private static string Binding(string kind, string role, params string[] subjects) => $$"""{"roleRef":{"kind":"{{kind}}","name":"{{role}}"},"subjects":[{{string.Join(",", subjects)}}]}""";

    private void Put(string kind, string @namespace, string name, string json, bool isDeleted = false)
    {
        var obj = Json.Object(json);
        obj["metadata"] = new JsonObject { ["name"] = name };
        var stored = new StoredObject(new ResourceId(RbacIndex.Group, kind.ToLowerInvariant() + "s"), @namespace, name, name, ++_version, ObjectJson.Bytes(obj));
        _index.Apply(new StoredEvent(isDeleted ? WatchEventType.Deleted : WatchEventType.Modified, stored, null));
    }
}
