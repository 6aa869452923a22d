using System.Globalization;
using System.Text;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local;
using Edge.Local.Containerd;
using Edge.Local.Images;
using Edge.Local.Processes;
using Spectre.Console;

namespace Edge.Ctl.Up;

/// <summary><c>edgectl up --check</c>: proves the main job on real parts, with the time of each step.</summary>
internal sealed class UpCheck(LocalEdgeOptions options)
{
    private const string Namespace = "default";
    private const string PodName = "check";
    private const string Sensor = "temperature";
    private const string Setpoint = "setpoint";
    private const string SetpointValue = "23";
    private static readonly TimeSpan s_stepDeadline = TimeSpan.FromSeconds(30);

    private readonly List<(string Name, TimeSpan Took, string Detail)> _steps = [];
    private readonly List<string> _leftOut = [];
    private readonly TimeProvider _time = options.Time;
    private string _step = "start";

    /// <returns>The exit code: 0 when every step held.</returns>
    public async Task<int> RunAsync(CancellationToken cancellationToken)
    {
        var started = _time.GetTimestamp();
        Console.WriteLine($"Checking Edge in {options.Directory}");
        LocalEdge? edge = null;
        try
        {
            edge = await LocalEdge.StartAsync(options, new StepPrinter(Console.Out), cancellationToken);
            Done("everything started, nodes Ready", _time.GetElapsedTime(started), string.Join(", ", edge.Nodes.Select(node => node.Name)));
            var memory = await ProveAsync(edge, cancellationToken);
            await StepAsync("everything stopped and gone", async () =>
            {
                await edge.DisposeAsync();
                edge = null;
                var left = Leftovers.Find(options.Directory);
                return left.Count == 0 ? "" : throw new LocalEdgeException($"left behind: {string.Join("; ", left)}");
            });
            Print(memory);
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"CHECK OK in {_time.GetElapsedTime(started).TotalSeconds:0.0} s"));
            return 0;
        }
        catch (Exception e) when (e is LocalEdgeException or ContainerdException or ImageException or ToolException or KubeException or TimeoutException or IOException or HttpRequestException)
        {
            Print("");
            Console.Error.WriteLine($"CHECK FAILED at step: {_step}");
            Console.Error.WriteLine(e.Message);

            // A start that failed has kept its logs already.
            var logs = edge?.KeepLogs() ?? LocalEdge.KeptLogsDirectory(options);
            string[] files = Directory.Exists(logs) ? Directory.GetFiles(logs, "*.log") : [];
            foreach (var log in files.Order(StringComparer.Ordinal))
                Console.Error.WriteLine($"--- the end of {Path.GetFileName(log)}\n{LogFile.Tail(log, 15)}");
            Console.Error.WriteLine($"logs kept in {logs}");
            return 1;
        }
        finally
        {
            if (edge is not null)
                await edge.DisposeAsync();
        }
    }

    private async Task<string> ProveAsync(LocalEdge edge, CancellationToken cancellationToken)
    {
        if (edge.HasPods)
        {
            var pod = await ProvePodAsync(edge, cancellationToken);
            await ProveDeviceAsync(edge, cancellationToken);
            await StepAsync("pod deleted by kubectl -> gone", () => DeletePodAsync(edge, pod, cancellationToken));
        }
        else
        {
            _leftOut.Add("pods (no root, or no containerd)");
            await ProveDeviceAsync(edge, cancellationToken);
        }

        return string.Create(
            CultureInfo.InvariantCulture,
            $"RSS: cloudcore {Megabytes(edge.CloudCore!):0.0} MB, {string.Join(", ", edge.Nodes.Select(node => string.Create(CultureInfo.InvariantCulture, $"edgecore {node.Name} {Megabytes(node.Process!):0.0} MB")))}");
    }

    private static double Megabytes(ChildProcess process) => ProcessTable.ResidentBytes(process.Id) / 1e6;

    private async Task<JsonObject> ProvePodAsync(LocalEdge edge, CancellationToken cancellationToken)
    {
        var manifest = Examples.Read("pods/web.yaml").Replace("name: web", $"name: {PodName}", StringComparison.Ordinal)
            .Replace("secretName: web", $"secretName: {PodName}", StringComparison.Ordinal);
        JsonObject pod = [];
        await StepAsync("kubectl apply of a cached-image pod -> Running", async () =>
        {
            if (Kubectl.Executable is null)
                await edge.ApplyAsync(manifest, cancellationToken);
            else
                await edge.Kubectl.RunAsync(["apply", "-f", "-"], cancellationToken, manifest);
            await edge.WaitForAsync($"pod {PodName} runs", token => edge.IsPodReadyAsync(Namespace, PodName, token), s_stepDeadline, cancellationToken);
            pod = await edge.Client.GetAsync(ResourceKind.Pod, Namespace, PodName, cancellationToken);
            return $"{pod.Text("status", "podIP")}{(Kubectl.Executable is null ? ", without kubectl: it is not on PATH" : "")}";
        });
        await StepAsync("ConfigMap and Secret seen in the pod", async () =>
        {
            var config = Manifests.Parse(manifest).First(obj => obj.Kind() == "ConfigMap");
            var secret = Manifests.Parse(manifest).First(obj => obj.Kind() == "Secret");
            await edge.WaitForAsync(
                "the pod serves its ConfigMap",
                async token =>
                {
                    using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(2) };
                    try
                    {
                        return await http.GetStringAsync(new Uri($"http://{pod.Text("status", "podIP")}:8080/"), token) == config.Text("data", "index.html");
                    }
                    catch (HttpRequestException)
                    {
                        // Running is said when the process runs; it listens a moment later.
                        return false;
                    }
                },
                s_stepDeadline,
                cancellationToken);
            await ExpectInPodAsync(edge, pod, ["cat", "/etc/web/password"], secret.Text("stringData", "password"), cancellationToken);
            await ExpectInPodAsync(edge, pod, ["sh", "-c", "echo $GREETING"], config.Text("data", "greeting"), cancellationToken);
            return "over HTTP at the pod's IP, as a file, as an environment variable";
        });
        return pod;
    }

    private static async Task ExpectInPodAsync(LocalEdge edge, JsonObject pod, string[] command, string expected, CancellationToken cancellationToken)
    {
        var output = (await edge.Nodes[0].Containerd!.ExecAsync(ContainerId(pod), command, cancellationToken)).TrimEnd('\n');
        if (output != expected)
            throw new LocalEdgeException($"'{string.Join(' ', command)}' in pod {PodName} wrote '{output}', must be '{expected}'");
    }

    private static async Task<string> DeletePodAsync(LocalEdge edge, JsonObject pod, CancellationToken cancellationToken)
    {
        if (Kubectl.Executable is null)
            await edge.Client.DeleteAsync(ResourceKind.Pod, Namespace, PodName, null, cancellationToken);
        else
            await edge.Kubectl.RunAsync(["delete", "pod", PodName, "--wait=false"], cancellationToken);
        await edge.WaitForAsync(
            $"pod {PodName} is gone from the API",
            async token => await edge.Client.TryGetAsync(ResourceKind.Pod, Namespace, PodName, token) is null,
            s_stepDeadline,
            cancellationToken);
        await edge.WaitForAsync(
            $"the container of pod {PodName} is gone from containerd",
            async token => !(await CtrAsync(edge, ["containers", "ls", "-q"], token)).Contains(ContainerId(pod), StringComparison.Ordinal),
            s_stepDeadline,
            cancellationToken);
        return "from the API and from containerd";
    }

    private async Task ProveDeviceAsync(LocalEdge edge, CancellationToken cancellationToken)
    {
        var device = (await edge.Client.ListAsync(ResourceKind.Device, Namespace, new ListOptions(), cancellationToken)).Items[0];
        await StepAsync($"reported {Sensor} follows the device", () => FollowAsync(edge, device, cancellationToken));
        await StepAsync($"desired {Setpoint} patched -> in the register", async () =>
        {
            var index = device.Items("spec", "properties").ToList().FindIndex(property => property.Text("name") == Setpoint);
            var patch = new JsonArray(new JsonObject
            {
                ["op"] = "add",
                ["path"] = string.Create(CultureInfo.InvariantCulture, $"/spec/properties/{index}/desired"),
                ["value"] = new JsonObject { ["value"] = SetpointValue },
            }).ToJsonString();
            var register = ModbusProperty.Of(device, Setpoint);
            var before = await register.ReadAsync(edge.ModbusPort, options.Time, cancellationToken);
            if (Kubectl.Executable is null)
                await edge.Client.PatchAsync(ResourceKind.Device, Namespace, device.Name(), PatchKind.Json, Encoding.UTF8.GetBytes(patch), null, cancellationToken);
            else
                await edge.Kubectl.RunAsync(["patch", "device", device.Name(), "--type=json", "-p", patch], cancellationToken);
            var wanted = double.Parse(SetpointValue, CultureInfo.InvariantCulture);
            await edge.WaitForAsync(
                $"{Setpoint} is {SetpointValue} in the register",
                async token => Math.Abs(await register.ReadAsync(edge.ModbusPort, options.Time, token) - wanted) < 0.01,
                s_stepDeadline,
                cancellationToken);
            return string.Create(CultureInfo.InvariantCulture, $"{before} -> {SetpointValue}");
        });
    }

    // Two reports with different values, and the newest as near to a direct read as the register moves in the time between.
    private async Task<string> FollowAsync(LocalEdge edge, JsonObject device, CancellationToken cancellationToken)
    {
        var register = ModbusProperty.Of(device, Sensor);
        var seen = new List<double>();
        await edge.WaitForAsync(
            $"{Sensor} is reported twice, with different values near the register's",
            async token =>
            {
                var before = await register.ReadAsync(edge.ModbusPort, options.Time, token);
                if (await ReportedAsync(edge, device.Name(), token) is not { } reported)
                    return false;
                if (seen.Count == 0 || seen[^1] != reported)
                    seen.Add(reported);
                return seen.Count >= 2 && Math.Abs(before - reported) <= Math.Max(1, Math.Abs(before) * 0.1);
            },
            s_stepDeadline,
            cancellationToken);
        return string.Join(" -> ", seen.Select(value => value.ToString(CultureInfo.InvariantCulture)));
    }

    private static async Task<double?> ReportedAsync(LocalEdge edge, string device, CancellationToken cancellationToken)
    {
        var status = Kubectl.Executable is null
            ? await edge.Client.TryGetAsync(ResourceKind.DeviceStatus, Namespace, device, cancellationToken)
            : JsonNode.Parse(await edge.Kubectl.RunAsync(["get", "devicestatus", device, "-o", "json"], cancellationToken));
        var twin = status.Items("status", "twins").FirstOrDefault(one => one.Text("propertyName") == Sensor);
        return double.TryParse(twin.Text("reported", "value"), CultureInfo.InvariantCulture, out var value) ? value : null;
    }

    private static Task<string> CtrAsync(LocalEdge edge, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
        => Tool.RunAsync("ctr", ["--address", edge.Nodes[0].Containerd!.Socket, "--namespace", "k8s.io", .. arguments], edge.ToolOptions, cancellationToken);

    private static string ContainerId(JsonObject pod)
        => pod.Items("status", "containerStatuses").First().Text("containerID").Replace("containerd://", "", StringComparison.Ordinal);

    private async Task StepAsync(string name, Func<Task<string>> action)
    {
        _step = name;
        var started = _time.GetTimestamp();
        var detail = await action();
        Done(name, _time.GetElapsedTime(started), detail);
    }

    private void Done(string name, TimeSpan took, string detail) => _steps.Add((name, took, detail));

    private void Print(string memory)
    {
        var table = new Table().Border(TableBorder.Ascii).AddColumn("step").AddColumn(new TableColumn("seconds").RightAligned()).AddColumn("what was seen");
        foreach (var (name, took, detail) in _steps)
            table.AddRow(new Text(name), new Text(took.TotalSeconds.ToString("0.00", CultureInfo.InvariantCulture)), new Text(detail));
        AnsiConsole.Write(table);
        if (memory.Length > 0)
            Console.WriteLine(memory);
        foreach (var part in _leftOut)
            Console.WriteLine($"left out: {part}");
    }
}
