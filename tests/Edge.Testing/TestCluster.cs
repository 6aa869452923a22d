using System.Text.Json.Nodes;
using Edge.Kubernetes;

namespace Edge.Testing;

/// <summary>An existing cluster for one test, which otherwise runs over the embedded API: the one of the kubeconfig that EDGE_TEST_KUBECONFIG names. Tests have it one after another, those of several processes of this machine too.</summary>
/// <remarks>CloudCore keeps its own things in namespace kubeedge and writes Nodes, so the cluster must be there for tests: a namespace kubeedge with Secrets that no test has made is left alone, and is an error.
/// What a test leaves goes with it, but for the CustomResourceDefinitions.</remarks>
public sealed class TestCluster : IAsyncDisposable
{
    private const string Variable = "EDGE_TEST_KUBECONFIG";
    private const string HubNamespace = "kubeedge";
    private const string Mark = "edge.kubeedge.io/tests";
    private static readonly SemaphoreSlim s_turn = new(1);
    private static readonly CancellationToken s_none = CancellationToken.None;

    private readonly FileStream _file;
    private readonly KubeClient _kube;
    private readonly HashSet<string> _nodes;

    private TestCluster(string kubeconfig, FileStream file, KubeClient kube, HashSet<string> nodes)
    {
        _file = file;
        Kubeconfig = kubeconfig;
        _kube = kube;
        _nodes = nodes;
    }

    /// <summary>The kubeconfig of the environment; null where tests are to use the embedded API.</summary>
    public static string? Given => Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } path ? Path.GetFullPath(path) : null;

    public string Kubeconfig { get; }

    /// <summary>This test's own.</summary>
    public string Namespace { get; } = $"edge-test-{Guid.NewGuid():n}";

    /// <summary>Waits for the cluster's turn, and makes the namespaces.</summary>
    public static async Task<TestCluster> EnterAsync(string kubeconfig)
    {
        await s_turn.WaitAsync(s_none);
        KubeClient? kube = null;
        FileStream? file = null;
        try
        {
            file = await LockAsync();
            kube = KubeClient.FromKubeconfig(kubeconfig, TimeProvider.System);
            if (await kube.TryGetAsync(ResourceKind.Namespace, null, HubNamespace, s_none) is { } there)
            {
                if (there["metadata"]?["labels"]?[Mark] is null && (await kube.ListAsync(ResourceKind.Secret, HubNamespace, new ListOptions(), s_none)).Items.Count > 0)
                    throw new InvalidOperationException($"{Variable}: {kubeconfig}: the cluster has Secrets in namespace {HubNamespace} that no test made, so a CloudCore is at home there; give a cluster for tests alone");
                await RemoveNamespaceAsync(kube, HubNamespace);
            }

            var nodes = await kube.ListAsync(ResourceKind.Node, null, new ListOptions(), s_none);
            var cluster = new TestCluster(kubeconfig, file, kube, [.. nodes.Items.Select(one => one.Name())]);
            foreach (var name in (string[])[HubNamespace, cluster.Namespace])
                await kube.CreateAsync(ResourceKind.Namespace, null, new JsonObject { ["apiVersion"] = "v1", ["kind"] = "Namespace", ["metadata"] = new JsonObject { ["name"] = name, ["labels"] = new JsonObject { [Mark] = "" } } }, s_none);
            // A real cluster takes no pod before that.
            await Eventually.HoldsAsync("the service account of the namespace", async () => await kube.TryGetAsync(ResourceKind.ServiceAccount, cluster.Namespace, "default", s_none) is not null);
            return cluster;
        }
        catch
        {
            kube?.Dispose();
            file?.Dispose();
            s_turn.Release();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            foreach (var pod in (await _kube.ListAsync(ResourceKind.Pod, Namespace, new ListOptions(), s_none)).Items)
                await GoneAsync(_kube, ResourceKind.Pod, Namespace, pod.Name());
            foreach (var node in (await _kube.ListAsync(ResourceKind.Node, null, new ListOptions(), s_none)).Items.Where(one => !_nodes.Contains(one.Name())))
                await GoneAsync(_kube, ResourceKind.Node, null, node.Name());
            if (await _kube.TryGetAsync(ResourceKind.CustomResourceDefinition, null, $"{ResourceKind.ClusterObjectSync.Plural}.{ResourceKind.ClusterObjectSync.Group}", s_none) is not null)
            {
                foreach (var record in (await _kube.ListAsync(ResourceKind.ClusterObjectSync, null, new ListOptions(), s_none)).Items)
                    await GoneAsync(_kube, ResourceKind.ClusterObjectSync, null, record.Name());
            }

            await RemoveNamespaceAsync(_kube, Namespace);
            await RemoveNamespaceAsync(_kube, HubNamespace);
        }
        finally
        {
            _kube.Dispose();
            _file.Dispose();
            s_turn.Release();
        }
    }

    // test.sh runs two test projects at a time; nothing tells when the other's file is free.
    private static async Task<FileStream> LockAsync()
    {
        while (true)
        {
            try
            {
                return new FileStream(Path.Combine(Path.GetTempPath(), "edge-test-cluster.lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            }
        }
    }

    private static async Task RemoveNamespaceAsync(KubeClient kube, string name)
    {
        await GoneAsync(kube, ResourceKind.Namespace, null, name);
        await Eventually.HoldsAsync($"namespace {name} gone", async () => await kube.TryGetAsync(ResourceKind.Namespace, null, name, s_none) is null);
    }

    private static async Task GoneAsync(KubeClient kube, ResourceKind kind, string? @namespace, string name)
    {
        try
        {
            await kube.DeleteAsync(kind, @namespace, name, new JsonObject { ["apiVersion"] = "v1", ["kind"] = "DeleteOptions", ["gracePeriodSeconds"] = 0 }, s_none);
        }
        catch (KubeException e) when (e.Code == 404)
        {
            // Somebody was faster: a CloudCore that ends, or the garbage collector.
        }
    }
}
