using System.Net;
using System.Text;
using Edge.ApiServer.Tests.Rest;
using Edge.Kubernetes;

namespace Edge.ApiServer.Tests.Kubectl;

/// <summary>Quotas and limit ranges through the stock kubectl and under parallel writers.</summary>
[Trait("Category", "Kubernetes")]
public sealed class QuotaTests(ApiFixture api) : IClassFixture<ApiFixture>
{
    public static TheoryData<string> Binaries => KubectlTests.Binaries;

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task A_quota_limits_and_shows_what_is_used(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync("create configmap before --from-literal=a=b");
        await run.OkAsync("create quota q --hard=pods=2,requests.cpu=1,limits.memory=1Gi,configmaps=3,count/deployments.apps=1,services=0");
        await run.OkAsync($"apply -f {run.File("a.yaml", Pod("a", "600m", "256Mi"))}");
        Assert.Equal("600m", await run.OkAsync("get quota q -o jsonpath={.status.used.requests\\.cpu}"));
        var refused = await run.FailAsync($"apply -f {run.File("b.yaml", Pod("b", "600m", "256Mi"))}");
        Assert.Contains("pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: requests.cpu=1", refused, StringComparison.Ordinal);
        Assert.Contains("failed quota: q: must specify limits.memory for: c; requests.cpu for: c", await run.FailAsync("run c --image=i --restart=Never -o name --overrides={\"spec\":{\"containers\":[{\"name\":\"c\",\"image\":\"i\"}]}}"), StringComparison.Ordinal);
        Assert.Contains("exceeded quota: q, requested: services=1, used: services=0, limited: services=0", await run.FailAsync("create service clusterip s --tcp=80"), StringComparison.Ordinal);
        await run.OkAsync("create deployment d --image=i --replicas=0");
        Assert.Contains("count/deployments.apps=1", await run.FailAsync("create deployment e --image=i --replicas=0"), StringComparison.Ordinal);
        await run.OkAsync("create configmap second --from-literal=a=b");

        var described = await run.OkAsync("describe quota q");
        Assert.Matches(@"Resource\s+Used\s+Hard\s+-+\s+-+\s+-+\s+configmaps\s+[2]\s+3\s+count/deployments.apps\s+1\s+1\s+limits.memory\s+256Mi\s+1Gi\s+pods\s+1\s+2\s+requests.cpu\s+600m\s+1\s+services\s+0\s+0", described);
        Assert.Matches(@"NAME\s+AGE\s+REQUEST\s+LIMIT\s+q\s+\S+\s+configmaps: 2/3, count/deployments.apps: 1/1, pods: 1/2, requests.cpu: 600m/1, services: 0/0\s+limits.memory: 256Mi/1Gi", await run.OkAsync("get quota"));
        await run.OkAsync("delete pod a --force --grace-period=0", withErrors: true);
        await run.OkAsync("wait quota q --for=jsonpath={.status.used.pods}=0 --timeout=30s");
        await run.OkAsync($"apply -f {run.File("b.yaml", Pod("b", "1", "1Gi"))}");
        Assert.Contains("must be a standard resource for quota", await run.FailAsync("create quota bad --hard=nonsense=1"), StringComparison.Ordinal);
    }

    [SkippableTheory]
    [MemberData(nameof(Binaries))]
    public async Task A_limit_range_fills_in_and_refuses(string kubectl)
    {
        var run = await RunnerAsync(kubectl);
        await run.OkAsync($"apply -f {run.File("limits.yaml", """
            apiVersion: v1
            kind: LimitRange
            metadata: {name: bounds}
            spec:
              limits:
              - {type: Container, max: {cpu: "2", memory: 1Gi}, min: {cpu: 100m}, default: {cpu: "1", memory: 512Mi}, defaultRequest: {cpu: 200m}}
              - {type: PersistentVolumeClaim, max: {storage: 1Gi}}
            """)}");
        await run.OkAsync("run a --image=i");
        Assert.Equal("""{"limits":{"cpu":"1","memory":"512Mi"},"requests":{"cpu":"200m","memory":"512Mi"}}""", await run.OkAsync("get pod a -o jsonpath={.spec.containers[0].resources}"));
        var refused = await run.FailAsync($"apply -f {run.File("b.yaml", Pod("b", "50m", "2Gi"))}");
        Assert.Contains("pods \"b\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, maximum memory usage per Container is 1Gi, but limit is 2Gi]", refused, StringComparison.Ordinal);
        Assert.Contains("maximum storage usage per PersistentVolumeClaim is 1Gi, but request is 2Gi", await run.FailAsync($"apply -f {run.File("c.yaml", """
            apiVersion: v1
            kind: PersistentVolumeClaim
            metadata: {name: data}
            spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 2Gi}}}
            """)}"), StringComparison.Ordinal);
        Assert.Matches(@"Container\s+cpu\s+100m\s+2\s+200m\s+1\s+-", await run.OkAsync("describe limits bounds"));
        Assert.Matches(@"NAME\s+CREATED AT\s+bounds\s+20\d\d-", await run.OkAsync("get limits"));
    }

    /// <summary>Writers that all want the last places, on keep-alive connections of their own: exactly as many succeed as there are places.</summary>
    [Fact]
    public async Task Parallel_creates_never_exceed_a_quota_and_its_count_is_exact()
    {
        const int Hard = 25;
        var ns = await api.NamespaceAsync();
        await api.PostAsync($"/api/v1/namespaces/{ns}/resourcequotas", $$$$"""{"metadata":{"name":"q"},"spec":{"hard":{"count/configmaps":"{{{{Hard}}}}","requests.storage":"10Gi"}}}""");
        for (var round = 0; round < 3; round++)
        {
            var made = 0;
            await Task.WhenAll(Enumerable.Range(0, 8).Select(writer => Task.Run(async () =>
            {
                for (var i = 0; i < 10; i++)
                {
                    using var content = new StringContent($$$"""{"metadata":{"name":"m-{{{writer}}}-{{{i}}}"}}""", Encoding.UTF8, "application/json");
                    using var response = await api.Client.PostAsync(new Uri($"/api/v1/namespaces/{ns}/configmaps", UriKind.Relative), content);
                    if (response.StatusCode == HttpStatusCode.Created)
                        Interlocked.Increment(ref made);
                    else
                        Assert.Contains("exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=25, limited: count/configmaps=25", await response.Content.ReadAsStringAsync(), StringComparison.Ordinal);
                }
            })));
            Assert.Equal(Hard, made);
            Assert.Equal("25", (await api.GetAsync($"/api/v1/namespaces/{ns}/resourcequotas/q")).Text("status", "used", "count/configmaps"));
            await api.DeleteAsync($"/api/v1/namespaces/{ns}/configmaps");
            await WaitAsync(async () => (await api.GetAsync($"/api/v1/namespaces/{ns}/resourcequotas/q")).Text("status", "used", "count/configmaps") == "0");
        }
    }

    [Fact]
    public async Task A_quota_made_amid_writes_counts_every_object_once()
    {
        var ns = await api.NamespaceAsync();
        using var stop = new CancellationTokenSource();
        var writers = Enumerable.Range(0, 4).Select(writer => Task.Run(async () =>
        {
            for (var i = 0; !stop.IsCancellationRequested; i++)
            {
                await api.PostAsync($"/api/v1/namespaces/{ns}/secrets", $$$"""{"metadata":{"name":"s-{{{writer}}}-{{{i}}}"}}""");
                if (i % 3 == 0)
                    await api.DeleteAsync($"/api/v1/namespaces/{ns}/secrets/s-{writer}-{i}");
            }
        })).ToArray();
        await WaitAsync(async () => (await api.GetAsync($"/api/v1/namespaces/{ns}/secrets")).Items("items").Count() > 20);
        await api.PostAsync($"/api/v1/namespaces/{ns}/resourcequotas", """{"metadata":{"name":"q"},"spec":{"hard":{"secrets":"100000"}}}""");
        await WaitAsync(async () => (await api.GetAsync($"/api/v1/namespaces/{ns}/secrets")).Items("items").Count() > 60);
        await stop.CancelAsync();
        await Task.WhenAll(writers);
        var count = (await api.GetAsync($"/api/v1/namespaces/{ns}/secrets")).Items("items").Count().ToString(System.Globalization.CultureInfo.InvariantCulture);
        await WaitAsync(async () => (await api.GetAsync($"/api/v1/namespaces/{ns}/resourcequotas/q")).Text("status", "used", "secrets") == count);
    }

    private static async Task WaitAsync(Func<Task<bool>> condition)
    {
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (!await condition())
            await Task.Delay(20, deadline.Token);
    }

    private static string Pod(string name, string cpu, string memory) => $$"""
        apiVersion: v1
        kind: Pod
        metadata: {name: {{name}} }
        spec:
          containers:
          - name: c
            image: i
            resources: {requests: {cpu: "{{cpu}}" }, limits: {cpu: "2", memory: {{memory}} } }
        """;

    private async Task<KubectlRunner> RunnerAsync(string kubectl)
    {
        Skip.If(kubectl.Length == 0, "no kubectl on PATH or in EDGE_KUBECTL");
        return new KubectlRunner(kubectl, api.Server.KubeconfigPath, await api.NamespaceAsync(), Directory.CreateDirectory(Path.Combine(api.Directory, Guid.NewGuid().ToString("N"))).FullName);
    }
}
