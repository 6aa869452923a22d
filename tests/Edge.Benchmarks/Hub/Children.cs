using System.Collections.Concurrent;
using System.Diagnostics;
using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Local.Processes;

namespace Edge.Benchmarks.Hub;

/// <summary>A cloudcore of its own, on free ports.</summary>
internal sealed class CloudProcess : IAsyncDisposable
{
    private static readonly TimeSpan s_startWithin = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_stopWithin = TimeSpan.FromSeconds(20);
    private readonly string _executable;
    private readonly string _directory;
    private readonly string[] _settings;
    private readonly PortLease _hub = PortLease.Take();
    private Process _process;
    private JsonObject _ports = [];

    private CloudProcess(string executable, string directory, string[] settings)
    {
        _executable = executable;
        _directory = directory;
        _settings = settings;
        _process = Spawn();
    }

    public int HubPort => _hub.Port;

    public string Kubeconfig => (string)_ports["kubeconfig"]!;

    public static async Task<CloudProcess> StartAsync(string executable, string directory, IEnumerable<string> settings, CancellationToken cancellationToken)
    {
        Directory.CreateDirectory(directory);
        var cloud = new CloudProcess(executable, directory, [.. settings]);
        await cloud.WaitAsync(cancellationToken);
        return cloud;
    }

    /// <summary>Kills it and starts it again on the same hub port.</summary>
    public async Task KillAsync(CancellationToken cancellationToken)
    {
        _process.Kill();
        await _process.WaitForExitAsync(cancellationToken);
        File.Delete(PortsPath);
    }

    public async Task StartAgainAsync(CancellationToken cancellationToken)
    {
        _process.Dispose();
        _process = Spawn();
        await WaitAsync(cancellationToken);
    }

    /// <summary>User and system time so far, seconds.</summary>
    public double CpuSeconds() => new ProcessFigures(_process.Id).CpuSeconds();

    /// <summary>Resident memory, KB.</summary>
    public double ResidentKb() => new ProcessFigures(_process.Id).ResidentKb();

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            using var limit = new CancellationTokenSource(s_stopWithin);
            try
            {
                using var term = Process.Start("kill", ["-TERM", _process.Id.ToString(CultureInfo.InvariantCulture)]);
                await _process.WaitForExitAsync(limit.Token);
            }
            catch (OperationCanceledException)
            {
                _process.Kill();
            }
        }

        _process.Dispose();
        _hub.Dispose();
    }

    private string PortsPath => Path.Combine(_directory, "cloudcore.ports.json");

    private Process Spawn()
    {
        var arguments = new List<string> { "--data-dir", _directory };
        foreach (var setting in (string[])[.. _settings, $"modules.cloudHub.websocket.port={HubPort.ToString(CultureInfo.InvariantCulture)}"])
            arguments.AddRange(["--set", setting]);
        return Children.Start(_executable, arguments, Path.Combine(_directory, "log"));
    }

    private async Task WaitAsync(CancellationToken cancellationToken)
    {
        var clock = Stopwatch.StartNew();
        while (!File.Exists(PortsPath))
        {
            if (_process.HasExited || clock.Elapsed > s_startWithin)
                throw new BenchException($"{_executable} did not start: {string.Join(" | ", File.ReadLines(Path.Combine(_directory, "log")).TakeLast(3))}");
            await Task.Delay(20, cancellationToken);
        }

        _ports = JsonNode.Parse(await File.ReadAllTextAsync(PortsPath, cancellationToken))!.AsObject();
    }
}

/// <summary>The fleet simulator under commands.</summary>
internal sealed class FleetProcess : IAsyncDisposable
{
    private static readonly TimeSpan s_stopWithin = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly ConcurrentDictionary<long, TaskCompletionSource<JsonObject>> _waiting = [];
    private readonly Lock _gate = new();
    private readonly Task _reading;
    private long _id;

    private FleetProcess(Process process)
    {
        _process = process;
        _reading = ReadAsync();
    }

    public static FleetProcess Start(string executable, int nodes, CloudProcess cloud, string directory)
    {
        Directory.CreateDirectory(directory);
        var process = new Process
        {
            StartInfo = new ProcessStartInfo(
                executable,
                [
                    "--control", "--check", "--nodes", nodes.ToString(CultureInfo.InvariantCulture), "--cloudcore", $"127.0.0.1:{cloud.HubPort}", "--data-dir", directory,
                    "--ca-file", Path.Combine(directory, "ca.crt"), "--ca-key-file", Path.Combine(directory, "ca.key"),
                ])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
            },
        };
        process.Start();
        return new FleetProcess(process);
    }

    /// <summary>User and system time so far, seconds.</summary>
    public double CpuSeconds() => new ProcessFigures(_process.Id).CpuSeconds();

    /// <summary>Gives one command and waits for its answer.</summary>
    /// <exception cref="BenchException">The fleet ended, or refused the command.</exception>
    public async Task<JsonObject> DoAsync(string what, JsonObject? arguments = null, CancellationToken cancellationToken = default)
    {
        var command = arguments ?? [];
        var answer = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_gate)
        {
            command["id"] = ++_id;
            command["do"] = what;
            _waiting[_id] = answer;
            _process.StandardInput.WriteLine(command.ToJsonString());
            _process.StandardInput.Flush();
        }

        var said = await answer.Task.WaitAsync(cancellationToken);
        return said["error"] is { } error ? throw new BenchException($"fleet: {what}: {error}") : said;
    }

    /// <summary>Waits for a condition of the fleet; returns how many milliseconds since the epoch it was when it came true.</summary>
    /// <exception cref="TimeoutException">Not within <paramref name="seconds"/>.</exception>
    public async Task<double> WaitAsync(string what, JsonObject arguments, int seconds, CancellationToken cancellationToken)
    {
        arguments["seconds"] = seconds;
        var text = arguments.ToJsonString();
        var answer = await DoAsync(what, arguments, cancellationToken);
        return answer["timedOut"] is null ? (double)answer["atMs"]! : throw new TimeoutException($"{what} {text}: not within {seconds} s");
    }

    /// <summary>Stops it. Returns whether its check passed; what failed is on stderr.</summary>
    public async Task<bool> StopAsync(CancellationToken cancellationToken)
    {
        await DoAsync("stop", null, cancellationToken);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_stopWithin);
        await _process.WaitForExitAsync(limit.Token);
        return _process.ExitCode == 0;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _process.Kill();
            await _process.WaitForExitAsync();
        }

        await _reading;
        _process.Dispose();
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            var answer = JsonNode.Parse(line)!.AsObject();
            if (answer["id"] is { } id && _waiting.TryRemove((long)id, out var waiter))
                waiter.SetResult(answer);
        }

        foreach (var waiter in _waiting.Values)
            waiter.TrySetException(new BenchException("the fleet ended early"));
    }
}

internal static class Children
{
    /// <summary>Starts a process whose output goes to a file.</summary>
    public static Process Start(string executable, IEnumerable<string> arguments, string log)
    {
        var process = new Process
        {
            // sh only redirects; exec keeps the process id that of the executable.
            StartInfo = new ProcessStartInfo("/bin/sh", ["-c", "log=$1; shift; exec \"$@\" >>\"$log\" 2>&1", "sh", log, executable, .. arguments]),
        };
        process.Start();
        return process;
    }
}
