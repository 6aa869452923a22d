using System.ComponentModel;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Edge.Ctl.Commands;
using Edge.Ctl.Joining;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Ctl.Upgrading;

/// <summary>Stops and starts this node's edgecore, and looks whether it can do its work.</summary>
internal sealed class NodeControl(NodePlaces node, TimeProvider time) : IDisposable
{
    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(250);
    private static readonly TimeSpan s_endWithin = TimeSpan.FromSeconds(60);
    private const string WatchUnit = "edgecore-upgrade-watch";
    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(5) };

    public void Dispose() => _http.Dispose();

    /// <summary>Whether edgecore can be stopped and started here.</summary>
    /// <exception cref="UpgradeException">It cannot; with what to give.</exception>
    public void Check()
    {
        if (node.StopWith is null != node.StartWith is null)
            throw new UpgradeException("--stop-with and --start-with belong together");
        if (node.StopWith is null && !SystemdUnit.IsRunning)
            throw new UpgradeException("systemd does not run here, so nothing is known of how edgecore is stopped and started; give --stop-with PROGRAM and --start-with PROGRAM");
    }

    /// <summary>What edgecore's program says its version is, without what stands behind a plus sign.</summary>
    /// <exception cref="UpgradeException">It does not run on this machine.</exception>
    public static async Task<string> VersionAsync(string directory, CancellationToken cancellationToken)
        => (await RunAsync(directory, ["--version"], cancellationToken)).Trim().Split('+')[0];

    /// <summary>Whether the program in a directory reads this node's config.</summary>
    /// <exception cref="UpgradeException">It refuses it; with its words.</exception>
    public Task TryConfigAsync(string directory, CancellationToken cancellationToken)
        => RunAsync(directory, ["--check", "--config", node.Config], cancellationToken);

    /// <summary>Ready and connected, as far as it says so now.</summary>
    public async Task<(bool IsReady, bool IsConnected, string Problem)> LookAsync(CancellationToken cancellationToken)
    {
        try
        {
            if (!File.Exists(node.PortsFile))
                return (false, false, $"{node.PortsFile} is not there: it has not started");
            var port = JsonNode.Parse(await File.ReadAllTextAsync(node.PortsFile, cancellationToken)).Number(0, "metrics");
            if (port <= 0)
                return (false, false, "it serves no /readyz (commonConfig.monitorServer.enable)");
            var address = string.Create(CultureInfo.InvariantCulture, $"http://127.0.0.1:{port}");
            using var ready = await _http.GetAsync(address + "/readyz", cancellationToken);
            if (!ready.IsSuccessStatusCode)
                return (false, false, (await ready.Content.ReadAsStringAsync(cancellationToken)).Trim());
            var metrics = await _http.GetStringAsync(address + "/metrics", cancellationToken);
            return metrics.Contains("\nedgecore_link_up 1", StringComparison.Ordinal) ? (true, true, "") : (true, false, "it is not connected to the cloud");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or HttpRequestException || e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
        {
            return (false, false, e.Message);
        }
    }

    /// <summary>Stops it, and returns once it answers no more.</summary>
    /// <exception cref="UpgradeException">It cannot be stopped.</exception>
    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await ControlAsync(node.StopWith, "stop", cancellationToken);
        var since = time.GetTimestamp();
        while ((await LookAsync(cancellationToken)).IsReady)
        {
            if (time.GetElapsedTime(since) > s_endWithin)
                throw new UpgradeException($"edgecore still answers {s_endWithin.TotalSeconds:0} s after it was stopped");
            await Task.Delay(s_pause, time, cancellationToken);
        }

        // So that the next one to be seen there is the next one started.
        File.Delete(node.PortsFile);
    }

    /// <exception cref="UpgradeException">It cannot be started.</exception>
    public Task StartAsync(CancellationToken cancellationToken) => ControlAsync(node.StartWith, "start", cancellationToken);

    /// <summary>Waits until it is ready, and connected where that is wanted, and stays so.</summary>
    /// <exception cref="UpgradeException">It is not; with what it says.</exception>
    public async Task AwaitReadyAsync(bool connected, CancellationToken cancellationToken)
    {
        var since = time.GetTimestamp();
        long? good = null;
        while (true)
        {
            var (isReady, isConnected, problem) = await LookAsync(cancellationToken);
            good = isReady && (isConnected || !connected) ? good ?? time.GetTimestamp() : null;
            if (good is { } from && time.GetElapsedTime(from) >= node.Settle)
                return;
            if (good is null && time.GetElapsedTime(since) > node.ReadyWithin)
                throw new UpgradeException($"edgecore was not ready within {node.ReadyWithin.TotalSeconds:0} s: {problem.ReplaceLineEndings("; ")}");
            await Task.Delay(s_pause, time, cancellationToken);
        }
    }

    /// <summary>Lets systemd look each minute, from now on, whether edgectl was killed in the middle, and take the upgrade back then: edgecore is stopped, and nobody may come by for long.</summary>
    /// <returns>Why it does not; empty where it does, and where systemd has nothing to do with edgecore.</returns>
    public async Task<string> WatchAsync(CancellationToken cancellationToken)
    {
        if (node.StopWith is not null)
            return "";
        await EndWatchAsync(cancellationToken); // one that a killed edgectl left
        try
        {
            var result = await Tool.TryRunAsync(
                "systemd-run",
                [
                    "--quiet", "--collect", $"--unit={WatchUnit}", "--on-active=60", "--on-unit-inactive=60", Programs.Find("edgectl"), "rollback", "edge", "--if-unfinished", "--config", node.Config,
                    "--data-dir", node.DataDirectory, "--program", Path.Combine(node.Program, NodePackage.Program), "--backup-dir", node.Backups,
                ], new ToolOptions(TimeProvider.System), cancellationToken);
            return result.ExitCode == 0 ? "" : $"systemd-run ended with {result.ExitCode}: {result.Error.Trim().ReplaceLineEndings("; ")}";
        }
        catch (Exception e) when (e is ToolException or JoinException)
        {
            return e.Message;
        }
    }

    /// <summary>The upgrade has ended. Without systemd, and where nothing looks, nothing is done.</summary>
    public static async Task EndWatchAsync(CancellationToken cancellationToken)
    {
        if (SystemdUnit.IsRunning)
            await Tool.TryRunAsync("systemctl", ["stop", "--quiet", $"{WatchUnit}.timer"], new ToolOptions(TimeProvider.System), cancellationToken);
    }

    private static async Task<string> RunAsync(string directory, IReadOnlyList<string> arguments, CancellationToken cancellationToken)
    {
        try
        {
            return await Tool.RunAsync(Path.Combine(directory, NodePackage.Program), arguments, new ToolOptions(TimeProvider.System), cancellationToken);
        }
        catch (ToolException e)
        {
            throw new UpgradeException(e.Message.ReplaceLineEndings("; "));
        }
    }

    private async Task ControlAsync(string? with, string verb, CancellationToken cancellationToken)
    {
        try
        {
            if (with is null)
            {
                await SystemdUnit.ControlAsync(cancellationToken, verb, SystemdUnit.Name);
                return;
            }

            // Its output is not read: what it starts may hold it open for ever.
            using var process = Process.Start(new ProcessStartInfo(with) { UseShellExecute = false })!;
            using var within = new CancellationTokenSource(s_endWithin, time);
            using var both = CancellationTokenSource.CreateLinkedTokenSource(within.Token, cancellationToken);
            try
            {
                await process.WaitForExitAsync(both.Token);
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                process.Kill();
                throw new UpgradeException($"{with} did not end within {s_endWithin.TotalSeconds:0} s; it must start or stop edgecore and end");
            }

            if (process.ExitCode != 0)
                throw new UpgradeException($"{with} ended with {process.ExitCode}");
        }
        catch (Exception e) when (e is JoinException or ToolException or Win32Exception)
        {
            throw new UpgradeException($"edgecore cannot be {(verb == "stop" ? "stopped" : "started")}: {e.Message}");
        }
    }
}
