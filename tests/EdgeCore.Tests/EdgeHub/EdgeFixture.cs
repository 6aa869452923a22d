using System.Net;
using Edge.Core.Configuration;
using Edge.Core.EdgeHub;
using Edge.Core.NodeStatus;
using Microsoft.Extensions.Logging;

namespace Edge.Core.Tests;

/// <summary>A directory that goes when the test ends.</summary>
internal sealed class TempDirectory : IDisposable
{
    public TempDirectory() => Path = Directory.CreateTempSubdirectory("edge-").FullName;

    public string Path { get; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}

/// <summary>Keeps log lines, and tells when one with a certain text comes.</summary>
internal sealed class LogLines : ILoggerProvider, ILogger
{
    private readonly List<string> _lines = [];
    private readonly List<(string Text, TaskCompletionSource<string> Done)> _waiters = [];

    public ILogger CreateLogger(string categoryName) => this;

    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
    {
        var line = $"{logLevel}: {formatter(state, exception)} {exception}";
        lock (_lines)
        {
            _lines.Add(line);
            foreach (var waiter in _waiters.Where(waiter => line.Contains(waiter.Text, StringComparison.Ordinal)))
                waiter.Done.TrySetResult(line);
        }
    }

    public async Task<string> WaitForAsync(string text)
    {
        var done = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        lock (_lines)
        {
            if (_lines.FirstOrDefault(line => line.Contains(text, StringComparison.Ordinal)) is { } found)
                return found;
            _waiters.Add((text, done));
        }

        try
        {
            return await done.Task.WaitAsync(TimeSpan.FromSeconds(20));
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"no log line with '{text}'; there are:\n{All()}");
        }
    }

    public string All()
    {
        lock (_lines)
            return string.Join('\n', _lines);
    }

    public void Dispose()
    {
    }
}

/// <summary>A whole EdgeCore in this process, without modules, against a <see cref="FakeCloud"/>.</summary>
internal sealed class RunningEdge : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly ILoggerFactory _loggers;

    /// <param name="quiet">Leaves out what is logged a message, as a process does by default.</param>
    public RunningEdge(EdgeCoreOptions options, Action<EdgeCoreHost>? configure = null, TimeProvider? time = null, bool quiet = false)
    {
        _loggers = LoggerFactory.Create(builder => builder.SetMinimumLevel(quiet ? LogLevel.Information : LogLevel.Debug).AddProvider(Log));
        Host = new EdgeCoreHost(options, time ?? TimeProvider.System, new Random(7), _loggers, () => Facts);
        configure?.Invoke(Host);
        Running = Host.RunAsync(_stop.Token);
    }

    public static NodeFacts Facts { get; } = new()
    {
        Architecture = "amd64",
        KernelVersion = "6.1.0",
        OsImage = "Debian GNU/Linux 12 (bookworm)",
        MachineId = "m",
        SystemUuid = "s",
        BootId = "b",
        Cpus = 2,
        MemoryBytes = 4L << 30,
        MemoryAvailableBytes = 2L << 30,
        DiskBytes = 100L << 30,
        DiskAvailableBytes = 50L << 30,
        Processes = 100,
        ProcessesMax = 32768,
        InternalIp = "192.0.2.2",
    };

    public LogLines Log { get; } = new();

    public EdgeCoreHost Host { get; }

    public HubService Hub => (HubService)Host.Uplink;

    public Task Running { get; }

    public static EdgeCoreOptions Options(FakeCloud cloud, TempDirectory directory, params string[] set)
        => EdgeCoreConfig.Parse("edgecore.yaml", "kind: EdgeCore\n",
            [
                $"modules.edgeHub.token={cloud.Token}", $"modules.edgeHub.httpServer=https://127.0.0.1:{cloud.Port}", $"modules.edgeHub.websocket.server=127.0.0.1:{cloud.Port}",
                "modules.edged.enable=false", "commonConfig.monitorServer.bindAddress=127.0.0.1:0", "modules.edged.tailoredKubeletConfig.readOnlyPort=0", .. set,
            ],
            directory.Path, "edge-node");

    public async Task StopAsync()
    {
        await _stop.CancelAsync();
        try
        {
            await Running;
        }
        catch (OperationCanceledException)
        {
            // asked for
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_stop.IsCancellationRequested)
        {
            try
            {
                await StopAsync();
            }
            catch (Edge.Common.Configuration.ConfigException)
            {
                // the test looked at it
            }
        }

        await Host.DisposeAsync();
        _loggers.Dispose();
        _stop.Dispose();
    }
}
