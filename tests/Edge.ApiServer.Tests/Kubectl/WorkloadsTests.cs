using Edge.ApiServer.Controllers;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;
using Edge.Testing;
using Microsoft.Extensions.Logging.Abstractions;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Deployments, DaemonSets, StatefulSets, Jobs, CronJobs and disruption budgets as kubectl's user has them: the real API and controllers;
/// a fake kubelet says that pods run.</summary>
[Trait("Category", "Kubernetes")]
public sealed class WorkloadsTests(ApiFixture api) : IClassFixture<ApiFixture>, IAsyncLifetime
{
    private KubeClient? _client;
    private EmbeddedControllers? _controllers;
    private FakeKubelet? _kubelet;
    private KubectlRunner _run = null!;

    public async Task InitializeAsync()
    {
        _client = KubeClient.FromKubeconfig(api.Server.KubeconfigPath, TimeProvider.System);
        _controllers = EmbeddedControllers.Start(_client, TimeProvider.System, new Random(7), NullLoggerFactory.Instance);
        var space = await api.NamespaceAsync();
        _run = new KubectlRunner("kubectl", api.Server.KubeconfigPath, space, Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
        _kubelet = await FakeKubelet.StartAsync(_client, space, $"{space}-a", $"{space}-b");
    }

    public async Task DisposeAsync()
    {
        if (_kubelet is not null)
            await _kubelet.DisposeAsync();
        if (_controllers is not null)
            await _controllers.DisposeAsync();
        _client?.Dispose();
    }

    [SkippableFact]
    [KubectlVerb("create", "deployment")]
    [KubectlVerb("scale", "deployments")]
    [KubectlVerb("rollout", "status, history, undo, pause, resume, restart")]
    [KubectlVerb("set", "image")]
    [KubectlVerb("wait", "--for=jsonpath")]
    [KubectlVerb("describe", "deployments")]
    public async Task A_deployment_is_created_scaled_rolled_out_undone_paused_and_restarted()
    {
        Requires.Kubectl();
        Assert.Contains("deployment.apps/web created", await _run.OkAsync("create deployment web --image=nginx:1 --replicas=2"), StringComparison.Ordinal);
        Assert.Contains("successfully rolled out", await _run.OkAsync("rollout status deployment/web --timeout=90s"), StringComparison.Ordinal);
        Assert.Matches(@"^NAME\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+AGE\s+web\s+2/2\s+2\s+2\s+\d+s\s*$", await _run.OkAsync("get deploy"));
        Assert.Matches(@"^NAME\s+DESIRED\s+CURRENT\s+READY\s+AGE\s+CONTAINERS\s+IMAGES\s+SELECTOR\s+web-\w+\s+2\s+2\s+2\s+\d+s\s+nginx\s+nginx:1\s+app=web,pod-template-hash=\w+", await _run.OkAsync("get rs -o wide"));

        await _run.OkAsync("scale deployment web --replicas=3");
        await _run.OkAsync("wait deployment/web --for=jsonpath={.status.availableReplicas}=3 --timeout=90s");
        await _run.OkAsync("set image deployment/web nginx=nginx:2");
        await _run.OkAsync("rollout status deployment/web --timeout=90s");
        await ImagesAsync("nginx:2 nginx:2 nginx:2");
        Assert.Matches(@"REVISION\s+CHANGE-CAUSE\s+1\s+<none>\s+2\s+<none>", await _run.OkAsync("rollout history deployment/web"));
        await _run.OkAsync("rollout undo deployment/web");
        await _run.OkAsync("rollout status deployment/web --timeout=90s");
        await ImagesAsync("nginx:1 nginx:1 nginx:1");
        Assert.Matches(@"2\s+<none>\s+3\s+<none>", await _run.OkAsync("rollout history deployment/web"));

        await _run.OkAsync("rollout pause deployment/web");
        await _run.OkAsync("set image deployment/web nginx=nginx:3");
        await UntilAsync("get deploy web -o jsonpath={.status.conditions[?(@.type=='Progressing')].reason}", "DeploymentPaused");
        await ImagesAsync("nginx:1 nginx:1 nginx:1");
        await _run.OkAsync("rollout resume deployment/web");
        await _run.OkAsync("rollout status deployment/web --timeout=90s");
        await ImagesAsync("nginx:3 nginx:3 nginx:3");
        await _run.OkAsync("rollout restart deployment/web");
        await _run.OkAsync("rollout status deployment/web --timeout=90s");
        Assert.Contains("restartedAt", await _run.OkAsync("get pods -o jsonpath={.items[0].metadata.annotations}"), StringComparison.Ordinal);
        Assert.Contains("ScalingReplicaSet", await _run.OkAsync("describe deployment web"), StringComparison.Ordinal);

        await _run.OkAsync("set image deployment/web nginx=broken");
        await UntilAsync("get deploy web -o jsonpath={.status.updatedReplicas}", "1");
        Assert.Equal("3", await _run.OkAsync("get deploy web -o jsonpath={.status.availableReplicas}"));

        // Background deletion takes the replica sets and their pods along.
        await _run.OkAsync("delete deployment web");
        await UntilAsync("get rs,pods -o name", "");
    }

    [SkippableFact]
    public async Task A_deployment_that_a_quota_holds_up_says_so_until_it_may_go_on()
    {
        Requires.Kubectl();
        await _run.OkAsync("create quota few --hard=pods=2");
        await UntilAsync("get quota few -o jsonpath={.status.hard.pods}", "2");
        await _run.OkAsync("create deployment web --image=i --replicas=3");
        const string Failure = "-o jsonpath={.status.conditions[?(@.type=='ReplicaFailure')].reason}";
        await UntilAsync("get deploy web " + Failure, "FailedCreate");
        Assert.Matches(@"ReplicaFailure\s+True\s+FailedCreate", await _run.OkAsync("describe deployment web"));
        Assert.Contains("exceeded quota: few", await _run.OkAsync("get deploy web " + Failure.Replace("reason", "message", StringComparison.Ordinal)), StringComparison.Ordinal);
        await UntilAsync("get deploy web -o jsonpath={.status.availableReplicas}", "2");
        await _run.OkAsync("patch quota few --type=merge -p {\"spec\":{\"hard\":{\"pods\":\"5\"}}}");
        await UntilAsync("get deploy web -o jsonpath={.status.availableReplicas}", "3");
        await UntilAsync("get deploy web " + Failure, "");
    }

    [SkippableFact]
    [KubectlVerb("delete", "--cascade=foreground, orphan")]
    public async Task Cascades_are_foreground_and_orphan_as_asked()
    {
        Requires.Kubectl();
        await _run.OkAsync("create deployment one --image=i --replicas=2");
        await _run.OkAsync("rollout status deployment/one --timeout=90s");
        await _run.OkAsync("delete deployment one --cascade=foreground --timeout=90s");
        Assert.Equal("", (await _run.OkAsync("get deploy,rs -o name")).Trim());

        await _run.OkAsync("create deployment two --image=i --replicas=2");
        await _run.OkAsync("rollout status deployment/two --timeout=90s");
        var set = (await _run.OkAsync("get rs -o name")).Trim();
        await _run.OkAsync("delete deployment two --cascade=orphan --timeout=90s");
        await UntilAsync("get rs -o jsonpath={.items[0].metadata.ownerReferences}", "");
        Assert.Equal(set, (await _run.OkAsync("get rs -o name")).Trim());
        // The same deployment again takes the replica set over instead of making another.
        await _run.OkAsync("create deployment two --image=i --replicas=2");
        await _run.OkAsync("rollout status deployment/two --timeout=90s");
        Assert.Equal(set, (await _run.OkAsync("get rs -o name")).Trim());
        Assert.Equal("Deployment", await _run.OkAsync("get rs -o jsonpath={.items[0].metadata.ownerReferences[0].kind}"));
    }

    [SkippableFact]
    [KubectlVerb("create", "job, cronjob, job --from")]
    [KubectlVerb("wait", "jobs")]
    public async Task Jobs_complete_and_a_cron_job_makes_one_on_demand()
    {
        Requires.Kubectl();
        Assert.Contains("job.batch/once created", await _run.OkAsync("create job once --image=i -- true"), StringComparison.Ordinal);
        await _run.OkAsync("wait job/once --for=condition=complete --timeout=90s");
        Assert.Matches(@"^NAME\s+STATUS\s+COMPLETIONS\s+DURATION\s+AGE\s+once\s+Complete\s+1/1\s+\d+s\s+\d+s\s*$", await _run.OkAsync("get jobs"));
        Assert.Contains("cronjob.batch/tick created", await _run.OkAsync("create cronjob tick --image=i --schedule=@yearly -- true"), StringComparison.Ordinal);
        Assert.Matches(@"^NAME\s+SCHEDULE\s+TIMEZONE\s+SUSPEND\s+ACTIVE\s+LAST SCHEDULE\s+AGE\s+tick\s+@yearly\s+<none>\s+False\s+0\s+<none>\s+\d+s\s*$", await _run.OkAsync("get cronjobs"));
        await _run.OkAsync("create job now --from=cronjob/tick");
        await _run.OkAsync("wait job/now --for=condition=complete --timeout=90s");
        Assert.Contains("cannot use TZ or CRON_TZ", await _run.FailAsync("patch cronjob tick -p {\"spec\":{\"schedule\":\"TZ=UTC\"}}"), StringComparison.Ordinal);
        await _run.OkAsync("delete job once now");
        await UntilAsync("get pods -o name", "");
    }

    [SkippableFact]
    [KubectlVerb("rollout", "daemon sets")]
    public async Task A_daemon_set_runs_on_every_node_and_rolls_back()
    {
        Requires.Kubectl();
        await ApplyAsync(Workload("DaemonSet", "agent", "", "nodeSelector: {pool: @@}, "));
        await _run.OkAsync("rollout status ds/agent --timeout=90s");
        Assert.Equal(Of("@@-a @@-b"), string.Join(' ', (await _run.OkAsync("get pods -o jsonpath={.items[*].spec.nodeName}")).Split(' ').Order(StringComparer.Ordinal)));
        Assert.Matches(Of(@"^NAME\s+DESIRED\s+CURRENT\s+READY\s+UP-TO-DATE\s+AVAILABLE\s+NODE SELECTOR\s+AGE\s+agent\s+2\s+2\s+2\s+2\s+2\s+pool=@@\s+\d+s\s*$"), await _run.OkAsync("get ds"));
        await _run.OkAsync("set image ds/agent c=i:2");
        await _run.OkAsync("rollout status ds/agent --timeout=90s");
        await ImagesAsync("i:2 i:2");
        await _run.OkAsync("rollout undo ds/agent");
        await _run.OkAsync("rollout status ds/agent --timeout=90s");
        await ImagesAsync("i:1 i:1");
    }

    [SkippableFact]
    [KubectlVerb("rollout", "stateful sets")]
    public async Task A_stateful_set_comes_and_goes_in_order()
    {
        Requires.Kubectl();
        await ApplyAsync(Workload("StatefulSet", "db", "serviceName: db, replicas: 3, ", ""));
        await _run.OkAsync("rollout status sts/db --timeout=90s");
        var made = (await _run.OkAsync("get pods --sort-by=.metadata.resourceVersion -o jsonpath={range.items[*]}{.metadata.name}={.metadata.creationTimestamp}{\"\\n\"}{end}")).Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Equal(["db-0", "db-1", "db-2"], made.Select(line => line.Split('=')[0]).Order(StringComparer.Ordinal));
        await _run.OkAsync("set image sts/db c=i:2");
        await _run.OkAsync("rollout status sts/db --timeout=90s");
        await ImagesAsync("i:2 i:2 i:2");
        await _run.OkAsync("scale sts db --replicas=1");
        await UntilAsync("get pods -o name", "pod/db-0");
        Assert.Contains("updates to statefulset spec for fields other than", await _run.FailAsync("patch sts db -p {\"spec\":{\"serviceName\":\"other\"}}"), StringComparison.Ordinal);
    }

    [SkippableFact]
    [KubectlVerb("create", "pdb")]
    public async Task An_eviction_beyond_the_budget_is_refused()
    {
        Requires.Kubectl();
        await _run.OkAsync("create deployment web --image=i --replicas=2");
        await _run.OkAsync("rollout status deployment/web --timeout=90s");
        await _run.OkAsync("create pdb web --selector=app=web --min-available=2");
        await UntilAsync("get pdb web -o jsonpath={.status.currentHealthy}/{.status.disruptionsAllowed}", "2/0");
        Assert.Matches(@"^NAME\s+MIN AVAILABLE\s+MAX UNAVAILABLE\s+ALLOWED DISRUPTIONS\s+AGE\s+web\s+2\s+N/A\s+0\s+\d+s\s*$", await _run.OkAsync("get pdb"));
        var pod = (await _run.OkAsync("get pods -o jsonpath={.items[0].metadata.name}")).Trim();
        var body = $$$$"""{"apiVersion":"policy/v1","kind":"Eviction","metadata":{"name":"{{{{pod}}}}"}}""";
        var refused = await api.PostAsync($"/api/v1/namespaces/{_run.Namespace}/pods/{pod}/eviction", body, System.Net.HttpStatusCode.TooManyRequests);
        Assert.Equal("Cannot evict pod as it would violate the pod's disruption budget.", refused.Text("message"));
        Assert.Equal("The disruption budget web needs 2 healthy pods and has 2 currently", refused.Items("details", "causes").Single().Text("message"));
        await _run.OkAsync("scale deployment web --replicas=3");
        await UntilAsync("get pdb web -o jsonpath={.status.disruptionsAllowed}", "1");
        await api.PostAsync($"/api/v1/namespaces/{_run.Namespace}/pods/{pod}/eviction", body);
        await UntilAsync($"get pod {pod} --ignore-not-found -o name", "");
    }

    [SkippableFact]
    [KubectlVerb("explain", "fields, --recursive")]
    public async Task Bad_workloads_are_refused_with_the_field_and_explained()
    {
        Requires.Kubectl();
        var bad = _run.File("bad.yaml", Of(Workload("Deployment", "bad", "replicas: -1, ", "")).Replace("app: bad}}, spec", "app: other}}, spec", StringComparison.Ordinal));
        var why = await _run.FailAsync($"apply -f {bad}");
        Assert.Contains("spec.replicas: Invalid value: -1: must be greater than or equal to 0", why, StringComparison.Ordinal);
        Assert.Contains("spec.template.metadata.labels: Invalid value: map[string]string{\"app\":\"other\"}: `selector` does not match template `labels`", why, StringComparison.Ordinal);
        Assert.Matches(@"maxSurge\s+<", await _run.OkAsync("explain deployment.spec.strategy.rollingUpdate"));
        Assert.Matches(@"backoffLimit\s+<integer>", await _run.OkAsync("explain job.spec"));
        Assert.Contains("jobTemplate", await _run.OkAsync("explain cronjob.spec --recursive"), StringComparison.Ordinal);
    }

    private static string Workload(string kind, string name, string spec, string pod) => """
        apiVersion: apps/v1
        kind: KIND
        metadata: {name: NAME}
        spec: {SPEC selector: {matchLabels: {app: NAME}}, template: {metadata: {labels: {app: NAME}}, spec: {POD containers: [{name: c, image: "i:1"}]}}}
        """.Replace("KIND", kind, StringComparison.Ordinal).Replace("NAME", name, StringComparison.Ordinal).Replace("SPEC", spec, StringComparison.Ordinal).Replace("POD", pod, StringComparison.Ordinal);

    // Old pods may still be going when a rollout is done.
    private Task ImagesAsync(string expected) => UntilAsync("get pods -o jsonpath={.items[*].spec.containers[0].image}", expected);

    private string Of(string text) => text.Replace("@@", _run.Namespace, StringComparison.Ordinal);

    private Task<string> ApplyAsync(string manifest) => _run.OkAsync($"apply -f {_run.File("manifest.yaml", Of(manifest))}");

    private async Task UntilAsync(string arguments, string expected)
    {
        using var net = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(100));
        while (true)
        {
            var answer = (await _run.OkAsync(arguments)).Trim();
            if (answer == expected)
                return;
            try
            {
                await timer.WaitForNextTickAsync(net.Token);
            }
            catch (OperationCanceledException)
            {
                throw new TimeoutException($"waited for \"{expected}\" of kubectl {arguments}; last: {answer}");
            }
        }
    }
}
