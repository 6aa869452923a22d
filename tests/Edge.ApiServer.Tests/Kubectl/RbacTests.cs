using Edge.ApiServer.Tests.Rest;
using Edge.Testing;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Roles, bindings, reviews and tokens through the stock kubectl.</summary>
[Trait("Category", "Kubernetes")]
public sealed class RbacTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    public static TheoryData<string> Binaries => KubectlTests.Binaries;

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task A_user_may_what_his_roles_say_and_is_told_what_he_may_not(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var refused = await run.FailAsync("get pods --as jane");
        Assert.Contains($"Error from server (Forbidden): pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"{run.Namespace}\"", refused, StringComparison.Ordinal);
        await run.OkAsync("create role reader --verb=get,list,watch --resource=pods,deployments.apps");
        Assert.Contains("rolebinding.rbac.authorization.k8s.io/jane created", await run.OkAsync("create rolebinding jane --role=reader --user=jane"));
        await run.OkAsync("get pods --as jane");
        await run.OkAsync("get deployments --as jane");
        Assert.Contains("cannot list resource \"secrets\"", await run.FailAsync("get secrets --as jane"), StringComparison.Ordinal);
        Assert.Contains("cannot list resource \"pods\" in API group \"\" at the cluster scope", await run.FailAsync("get pods -A --as jane"), StringComparison.Ordinal);
        Assert.Contains("cannot create resource \"configmaps\"", await run.FailAsync("create configmap m --as jane"), StringComparison.Ordinal);

        Assert.Matches(@"NAME\s+CREATED AT\s+reader\s+20\d\d-", await run.OkAsync("get roles"));
        Assert.Matches(@"NAME\s+ROLE\s+AGE\s+jane\s+Role/reader", await run.OkAsync("get rolebindings"));
        Assert.Matches(@"USERS\s+GROUPS\s+SERVICEACCOUNTS[\s\S]*jane\s+Role/reader\s+\S+\s+jane", await run.OkAsync("get rolebindings -o wide"));
        Assert.Matches(@"pods\s+\[\]\s+\[\]\s+\[get list watch\]", await run.OkAsync("describe role reader"));
        Assert.Contains("cannot change roleRef", await run.FailAsync("patch rolebinding jane --type=merge -p {\"roleRef\":{\"name\":\"other\"}}"), StringComparison.Ordinal);
        await run.OkAsync("delete rolebinding jane");
        await run.FailAsync("get pods --as jane");
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    [KubectlVerb("auth", "can-i, can-i --list, whoami")]
    public async Task Auth_answers_can_i_and_whoami(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync("create rolebinding v --clusterrole=view --user=vera");
        Assert.Equal("yes", (await run.OkAsync("auth can-i list pods --as vera")).Trim());
        Assert.StartsWith("no", (await run.CodeAsync("auth can-i list secrets --as vera")).Output, StringComparison.Ordinal);
        Assert.StartsWith("no", (await run.CodeAsync("auth can-i list pods --as vera -n default")).Output, StringComparison.Ordinal);
        Assert.Equal("yes", (await run.OkAsync("auth can-i * *")).Trim());
        Assert.Equal("yes", (await run.OkAsync("auth can-i get /version --as vera --as-group system:authenticated")).Trim());
        var list = await run.OkAsync("auth can-i --list --as vera");
        Assert.Matches(@"pods\s+\[\]\s+\[\]\s+\[get list watch\]", list);
        Assert.Matches(@"selfsubjectaccessreviews.authorization.k8s.io\s+\[\]\s+\[\]\s+\[create\]", list);
        Assert.Matches(@"\[/healthz\]\s+\[\]\s+\[get\]", list);
        Assert.Matches(@"Username\s+vera[\s\S]*Groups\s+\[a system:authenticated\]", await run.OkAsync("auth whoami --as vera --as-group a"));
        Assert.Contains("kubernetes-admin", await run.OkAsync("auth whoami"));
        Assert.Contains("cannot impersonate resource \"users\"", await run.WithToken(await TokenAsync(run, "plain")).FailAsync("get pods --as joe"), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task A_service_account_begins_with_nothing_and_works_with_its_token_and_a_binding(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var token = await TokenAsync(run, "robot");
        var user = run.WithToken(token);
        Assert.Contains($"User \"system:serviceaccount:{run.Namespace}:robot\" cannot list resource \"pods\"", await user.FailAsync("get pods"), StringComparison.Ordinal);
        Assert.Matches(@"system:serviceaccounts:" + run.Namespace, await user.OkAsync("auth whoami"));
        await run.OkAsync($"create rolebinding robot --clusterrole=edit --serviceaccount={run.Namespace}:robot");
        await user.OkAsync("create configmap m --from-literal=a=b");
        Assert.Contains("m", await user.OkAsync("get configmaps"));
        await user.FailAsync("create role r --verb=get --resource=pods");
        await run.OkAsync("delete serviceaccount robot");
        Assert.Contains("Unauthorized", await user.FailAsync("get configmaps"), StringComparison.OrdinalIgnoreCase);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task Nobody_grants_what_he_does_not_have(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var name = run.Namespace;
        await run.OkAsync("create rolebinding adm --clusterrole=admin --user=adam");
        await run.OkAsync("create role may --verb=get,list --resource=pods --as adam");
        await run.OkAsync("create rolebinding may --role=may --user=bob --as adam");
        await run.OkAsync("create rolebinding viewer --clusterrole=view --user=bob --as adam");
        var refused = await run.FailAsync("create role beyond --verb=get --resource=nodes --as adam");
        Assert.Contains("is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\"]}", refused, StringComparison.Ordinal);
        Assert.Contains("not currently held", await run.FailAsync("create rolebinding all --clusterrole=cluster-admin --user=adam --as adam"), StringComparison.Ordinal);
        // With `escalate` and `bind` he may.
        await run.OkAsync($"create clusterrole {name}-esc --verb=escalate --resource=roles.rbac.authorization.k8s.io");
        await run.OkAsync($"create rolebinding esc --clusterrole={name}-esc --user=adam");
        await run.OkAsync("create role beyond --verb=get --resource=nodes --as adam");
        await run.OkAsync($"create clusterrole {name}-bind --verb=bind --resource=clusterroles.rbac.authorization.k8s.io --resource-name=cluster-admin");
        await run.OkAsync($"create clusterrolebinding {name}-bind --clusterrole={name}-bind --user=adam");
        await run.OkAsync("create rolebinding all --clusterrole=cluster-admin --user=adam --as adam");
        Assert.Equal("yes", (await run.OkAsync("auth can-i * * --as adam")).Trim());
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task Aggregated_roles_gather_what_is_labelled_and_reconcile_keeps_a_file(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        var name = run.Namespace;
        Assert.Contains("yes", await run.OkAsync("auth can-i list devices.devices.kubeedge.io --as x --as-group system:masters"));
        var file = run.File("roles.yaml", $$"""
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: "{{name}}:all"}
            aggregationRule: {clusterRoleSelectors: [{matchLabels: {part-of: "{{name}}" } }]}
            ---
            apiVersion: rbac.authorization.k8s.io/v1
            kind: ClusterRole
            metadata: {name: "{{name}}:part", labels: {part-of: "{{name}}" } }
            rules: [{apiGroups: [""], resources: [nodes], verbs: [get]}]
            """);
        await run.OkAsync($"auth reconcile -f {file}");
        await run.OkAsync($"create clusterrolebinding {name} --clusterrole={name}:all --user={name}");
        await run.OkAsync($"wait clusterrole {name}:all --for=jsonpath={{.rules[0].resources[0]}}=nodes --timeout=30s");
        Assert.Equal("yes", (await run.OkAsync($"auth can-i get nodes --as {name}")).Trim());
        await run.OkAsync($"label clusterrole {name}:part part-of-");
        Assert.Contains("reconciled", await run.OkAsync($"auth reconcile -f {file}")); // brings the label back
        Assert.Equal("true", (await run.OkAsync("get clusterrole system:aggregate-to-edit -o jsonpath={.metadata.labels.rbac\\.authorization\\.k8s\\.io/aggregate-to-edit}")).Trim());
        Assert.Contains("deployments", await run.OkAsync("get clusterrole admin -o jsonpath={.rules[*].resources}"));
        Assert.Contains("system:node", await run.OkAsync("get clusterroles"));
    }

    private static async Task<string> TokenAsync(KubectlRunner run, string account)
    {
        await run.OkAsync($"create serviceaccount {account}");
        return (await run.OkAsync($"create token {account} --duration=1h")).Trim();
    }

    private async Task<KubectlRunner> RunnerAsync(string kubectl)
    {
        Skip.If(kubectl.Length == 0, "no kubectl on PATH or in EDGE_KUBECTL");
        return new KubectlRunner(kubectl, api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
    }
}
