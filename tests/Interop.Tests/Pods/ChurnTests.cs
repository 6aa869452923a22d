using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Testing;
using Xunit;
using Xunit.Abstractions;

namespace Edge.Interop.Tests.Pods;

/// <summary>edgecore is killed again and again while pods come, change and go.</summary>
[Trait("Category", "Pods")]
[Collection(nameof(EdgeCollection))]
public sealed class ChurnTests(ITestOutputHelper output)
{
    private const int Kills = 20;
    private const int Staying = 20;
    private const int Total = 30;

    /// <summary>What is changed, and when edgecore is killed; another one with the environment variable EDGE_CHURN_SEED.</summary>
    private static readonly int s_seed = int.TryParse(Environment.GetEnvironmentVariable("EDGE_CHURN_SEED"), CultureInfo.InvariantCulture, out var seed) ? seed : 20;

    [SkippableFact]
    public async Task Edgecore_killed_20_times_while_30_pods_churn_restarts_no_container_and_leaks_nothing()
    {
        Requires.Containerd();
        Requires.Kubectl();
        var started = Stopwatch.GetTimestamp();
        await using var edge = await TestEdge.StartAsync(new TestEdgeOptions { Pods = true });
        using var node = new PodNode(edge);
        var churn = new Churn(edge, node, Staying);
        await churn.StartAsync(Total);
        output.WriteLine($"{Stopwatch.GetElapsedTime(started).TotalSeconds:0} s: {Total} pods are ready");
        var processes = await node.ProcessesAsync();
        var survivors = await churn.StayingAsync();
        Assert.Equal(Staying, survivors.Count);

        for (var round = 1; round <= Kills; round++)
            await churn.RoundAsync(round);

        output.WriteLine($"{Stopwatch.GetElapsedTime(started).TotalSeconds:0} s: killed {Kills} times; {churn.Created} pods created, {churn.Deleted} deleted, {churn.InStart} kills hit a pod in its start");
        await churn.SettleAsync();
        output.WriteLine($"{Stopwatch.GetElapsedTime(started).TotalSeconds:0} s: settled");

        // What lived through all kills is the same down to the process.
        var now = await churn.StayingAsync();
        Assert.Equal(survivors, now);
        Assert.All(survivors.Values.SelectMany(containers => containers), container => Assert.EndsWith(" 0", container, StringComparison.Ordinal));
        var later = await node.ProcessesAsync();
        var stayingIds = survivors.Values.SelectMany(containers => containers).Select(container => container.Split(' ')[1]).ToList();
        Assert.All(stayingIds, id => Assert.Equal(processes[id], later[id]));

        await churn.DeleteAllAsync();
        output.WriteLine($"{Stopwatch.GetElapsedTime(started).TotalSeconds:0} s: all gone; containerd forgot {await node.ForgottenShimsAsync()} shims");
    }

    /// <summary>The user of the cluster, who creates, changes and deletes pods with kubectl, and what should come of it.</summary>
    private sealed class Churn(TestEdge edge, PodNode node, int staying)
    {
        private const string Config = "churn";
        private const string InitContainer = "first";

        private readonly Dictionary<string, Wanted> _pods = new(StringComparer.Ordinal);
        private readonly HashSet<string> _uids = new(StringComparer.Ordinal);
        private readonly Dictionary<(string Uid, string Name), string> _running = [];
        private readonly HashSet<string> _deletedUids = new(StringComparer.Ordinal);
        private readonly SemaphoreSlim _gate = new(1); // one kubectl after the other, as one user types
        private int _next;
        private string _config = "0";

        public int Created => _next;

        public int Deleted { get; private set; }

        /// <summary>Kills that came when a pod had its sandbox and not yet all of its containers.</summary>
        public int InStart { get; private set; }

        public async Task StartAsync(int pods)
        {
            await edge.ApplyAsync($$"""{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"{{Config}}"},"data":{"value":"0"} }""");
            await AloneAsync(() => CreateAsync(pods));
            await edge.WaitForAsync($"{pods} pods are ready", async () => (await edge.PodsAsync()).Count(PodSteps.IsReady) == pods, PodSteps.Long);
            await ObserveAsync("the start");
        }

        /// <summary>One kill, with changes before, while and after edgecore is away.</summary>
        public async Task RoundAsync(int round)
        {
            var step = $"seed {s_seed}, round {round}";
            var random = new Random(s_seed * 1000 + round);
            var (changing, away, pause) = (random.Next(4) > 0, random.Next(2) == 0, random.Next(2000));
            var changes = changing ? AloneAsync(() => ChangeAsync(round, new Random(random.Next()))) : Task.CompletedTask;
            if (round % 2 == 0)
            {
                // In the middle of a pod's start.
                var name = await AloneAsync(() => CreateAsync(1));
                var uid = _pods[name].Uid;
                await edge.WaitForAsync($"{step}: pod {name} has begun", () => Task.FromResult(Directory.Exists(node.PodDirectory(uid))), PodSteps.Long);
                await Task.Delay(TimeSpan.FromMilliseconds(pause / 5), TimeProvider.System);
                if (!(await node.RunningAsync()).Keys.Any(key => key.Uid == uid))
                    InStart++;
            }
            else
            {
                await Task.Delay(TimeSpan.FromMilliseconds(pause), TimeProvider.System);
            }

            await LocalEdge.KillEdgeCoreAsync(edge.Local.Nodes[0]);
            if (away)
                await AloneAsync(() => DeleteSomeAsync(new Random(random.Next())));
            edge.Local.RestartEdgeCore(edge.Local.Nodes[0]);
            await changes;
            await ObserveAsync(step);
        }

        /// <summary>Waits until all is as it should be, and asserts it.</summary>
        public async Task SettleAsync()
        {
            var names = _pods.Keys.Order(StringComparer.Ordinal).ToList();
            List<JsonObject> others = [];
            try
            {
                await edge.WaitForAsync(
                    "all pods that should run are ready, and no others are there",
                    async () =>
                    {
                        var pods = await edge.PodsAsync();
                        others = [.. pods.Where(pod => !PodSteps.IsReady(pod) || !_pods.ContainsKey(pod.Name()))];
                        return others.Count == 0 && names.SequenceEqual(pods.Select(pod => pod.Name()).Order(StringComparer.Ordinal));
                    },
                    PodSteps.Long);
            }
            catch (TimeoutException)
            {
                Assert.Fail($"seed {s_seed}: not as wanted ({names.Count} pods): {string.Join("\n", others.Select(pod => pod.ToJsonString()))}");
            }

            await NothingUnexpectedAsync();
            await ObserveAsync($"seed {s_seed}, the end");
            foreach (var (name, wanted) in _pods.Where(pod => pod.Value.Kind == 1))
            {
                // Volumes follow what they show, also what changed while edgecore was away.
                await FileAsync(name, node.VolumeFile(wanted.Uid, "configmap", "config", "value"), _config);
                await FileAsync(name, node.VolumeFile(wanted.Uid, "downward-api", "labels", "step"), wanted.Step);
            }

            Assert.Contains(_pods.Values, pod => pod is { Kind: 1, Step.Length: > 0 });
        }

        /// <summary>Of each pod that stays, its containers as <c>name id restartCount</c>.</summary>
        public async Task<SortedDictionary<string, string[]>> StayingAsync()
            => new(
                (await edge.PodsAsync()).Where(pod => _pods.TryGetValue(pod.Name(), out var known) && known.Stays).ToDictionary(
                    pod => pod.Name(),
                    pod => pod.Items("status", "containerStatuses")
                        .Select(container => $"{container.Text("name")} {container.Text("containerID")["containerd://".Length..]} {container.Number(-1, "restartCount")}").ToArray()),
                StringComparer.Ordinal);

        public async Task DeleteAllAsync()
        {
            await edge.KubectlAsync("delete pods --all --wait=false");
            _pods.Clear();
            await edge.WaitForAsync("all pods are gone", async () => (await edge.PodsAsync()).Count == 0, PodSteps.Long);
            await NothingUnexpectedAsync();
        }

        private async Task NothingUnexpectedAsync()
        {
            var wanted = _pods.Values.Select(pod => pod.Uid).ToHashSet(StringComparer.Ordinal);
            IReadOnlyList<string> unexpected = [];
            try
            {
                await edge.WaitForAsync("nothing is left over", async () => (unexpected = await node.UnexpectedAsync(wanted, _uids)).Count == 0, PodSteps.Long);
            }
            catch (TimeoutException)
            {
                Assert.Fail($"seed {s_seed}: left over: {string.Join("; ", unexpected)}");
            }
        }

        private async Task<T> AloneAsync<T>(Func<Task<T>> change)
        {
            await _gate.WaitAsync();
            try
            {
                return await change();
            }
            finally
            {
                _gate.Release();
            }
        }

        private async Task<int> ChangeAsync(int round, Random random)
        {
            var text = round.ToString(CultureInfo.InvariantCulture);
            var labelled = _pods.Where(pod => pod.Value.Kind == 1).Select(pod => pod.Key).ToList();
            var name = labelled[random.Next(labelled.Count)];
            await edge.KubectlAsync($"label pod {name} step={round} --overwrite");
            _pods[name] = _pods[name] with { Step = text };
            if (round % 3 == 0)
                await edge.KubectlAsync($"annotate pod {_pods.Keys.ElementAt(random.Next(_pods.Count))} note=round-{round} --overwrite");
            await edge.KubectlAsync($"patch configmap {Config} --type=merge -p {{\"data\":{{\"value\":\"{round}\"}}}}");
            _config = text;
            if (_pods.Count < Total)
                await CreateAsync(Total - _pods.Count);
            else
                await DeleteSomeAsync(random);
            return round;
        }

        // Returns the name of the last one.
        private async Task<string> CreateAsync(int count)
        {
            var created = Enumerable.Range(_next, count).Select(number => (Name: $"churn-{number}", Kind: number % 5, Stays: number < staying)).ToList();
            _next += count;
            await edge.ApplyAsync(created.Select(pod => Manifest(pod.Name, pod.Kind)));
            var uids = (await edge.PodsAsync()).ToDictionary(pod => pod.Name(), pod => pod.Uid());
            foreach (var pod in created)
            {
                _pods[pod.Name] = new Wanted(uids[pod.Name], pod.Kind, pod.Stays, "");
                _uids.Add(uids[pod.Name]);
            }

            return created[^1].Name;
        }

        private async Task<int> DeleteSomeAsync(Random random)
        {
            var names = _pods.Where(pod => !pod.Value.Stays).Select(pod => pod.Key).OrderBy(_ => random.Next()).Take(random.Next(1, 4)).ToArray();
            if (names.Length == 0)
                return 0;
            foreach (var name in names)
            {
                _deletedUids.Add(_pods[name].Uid);
                _pods.Remove(name);
            }

            Deleted += names.Length;
            await edge.KubectlAsync(["delete", "pod", .. names, "--wait=false", .. random.Next(3) == 0 ? ["--grace-period=0", "--force"] : Array.Empty<string>()]);
            return names.Length;
        }

        // A container that was seen running runs for as long as its pod is wanted, and is no other. Init containers end.
        private async Task ObserveAsync(string step)
        {
            var running = await node.RunningAsync();
            foreach (var (key, id) in _running.Where(one => !_deletedUids.Contains(one.Key.Uid)))
            {
                Assert.True(running.TryGetValue(key, out var container), $"{step}: container {key.Name} of pod {key.Uid}, {id}, does not run any more");
                Assert.True(container.Id == id, $"{step}: container {key.Name} of pod {key.Uid} was {id} and is {container.Id}");
            }

            foreach (var (key, container) in running.Where(one => one.Key.Name != InitContainer))
                _running.TryAdd(key, container.Id);
        }

        private async Task FileAsync(string pod, string path, string content)
            => await edge.WaitForAsync($"pod {pod} shows '{content}' in {path}", async () => File.Exists(path) && await File.ReadAllTextAsync(path) == content, PodSteps.Long);

        private static string Manifest(string name, int kind) => kind switch
        {
            0 => PodSteps.Pod(name),
            1 => PodSteps.Pod(
                name,
                $$"""
                ,"volumes":[{"name":"config","configMap":{"name":"{{Config}}"} },
                  {"name":"labels","downwardAPI":{"items":[{"path":"step","fieldRef":{"fieldPath":"metadata.labels['step']"} }]} }]
                """,
                """
                ,"volumeMounts":[{"name":"config","mountPath":"/config"},{"name":"labels","mountPath":"/labels"}]
                """),
            2 => PodSteps.Pod(
                name, ""","volumes":[{"name":"memory","emptyDir":{"medium":"Memory","sizeLimit":"1Mi"} }]""",
                ""","resources":{"requests":{"cpu":"1m","memory":"4Mi"} },"volumeMounts":[{"name":"memory","mountPath":"/memory"}]"""),
            3 => PodSteps.Manifest(name, $"{Guaranteed("c")},{Guaranteed("d")}"),
            _ => PodSteps.Pod(
                name, $$""","initContainers":[{"name":"{{InitContainer}}","image":"{{LocalEdge.BusyboxImage}}","command":["true"]}]""",
                $$""","env":[{"name":"VALUE","valueFrom":{"configMapKeyRef":{"name":"{{Config}}","key":"value"} } }]"""),
        };

        private static string Guaranteed(string name)
            => $$"""{"name":"{{name}}","image":"{{LocalEdge.BusyboxImage}}","command":{{PodSteps.Sleep}},"resources":{"limits":{"cpu":"50m","memory":"32Mi"} } }""";

        private sealed record Wanted(string Uid, int Kind, bool Stays, string Step);
    }
}
