using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Edge.Local.Processes;
using Xunit;

namespace Edge.Testing;

/// <summary>The real mosquitto: its broker on a free port, and its command-line clients.</summary>
public sealed class Mosquitto : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly TempDirectory _directory = new();
    private readonly string _extra;
    private readonly PortLease _port;
    private Process? _process;

    private Mosquitto(PortLease port, string extra)
    {
        _port = port;
        _extra = extra;
    }

    public int Port => _port.Port;

    public static string? Broker => Tool.OnPath("mosquitto");

    public static void RequireBroker() => Skip.If(Broker is null, "mosquitto (Debian: mosquitto)");

    public static void RequireClients() => Skip.If(Tool.OnPath("mosquitto_sub") is null, "mosquitto_sub (Debian: mosquitto-clients)");

    public static async Task<Mosquitto> StartAsync(string extra = "")
    {
        for (var attempt = 0; ; attempt++)
        {
            // mosquitto takes no port 0.
            var mosquitto = new Mosquitto(PortLease.Take(), extra);
            if (await mosquitto.TryRunAsync())
                return mosquitto;
            await mosquitto.DisposeAsync();
            Assert.True(attempt < 5, "mosquitto did not start");
        }
    }

    public async Task RestartAsync()
    {
        await KillAsync();
        var clock = Stopwatch.StartNew();
        while (!await TryRunAsync())
            Assert.True(clock.Elapsed < s_patience, "mosquitto did not come back on its old port");
    }

    public async Task KillAsync()
    {
        if (_process is null)
            return;
        _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        _process = null;
    }

    public async ValueTask DisposeAsync()
    {
        await KillAsync();
        _port.Dispose();
        _directory.Dispose();
    }

    private async Task<bool> TryRunAsync()
    {
        var config = _directory.File("mosquitto.conf");
        await File.WriteAllTextAsync(config, $"listener {Port} 127.0.0.1\nallow_anonymous true\n{_extra}\n");
        _process = Process.Start(new ProcessStartInfo(Broker!, ["-c", config]) { RedirectStandardError = true, RedirectStandardOutput = true })!;
        _process.ErrorDataReceived += (_, _) => { }; // read, so that it never blocks
        _process.BeginErrorReadLine();
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < s_patience)
        {
            if (_process.HasExited)
                return false;
            using var probe = new Socket(SocketType.Stream, ProtocolType.Tcp);
            try
            {
                await probe.ConnectAsync(IPAddress.Loopback, Port);
                return true;
            }
            catch (SocketException)
            {
                await Task.Delay(20);
            }
        }

        return false;
    }
}

/// <summary>A running mosquitto_sub.</summary>
public sealed class MosquittoSub : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);
    private readonly Process _process;
    private readonly List<string> _lines = [];
    private readonly Lock _gate = new();

    private MosquittoSub(Process process) => _process = process;

    public string[] Lines
    {
        get
        {
            lock (_gate)
                return [.. _lines];
        }
    }

    /// <summary>Starts it and waits until it has subscribed.</summary>
    public static async Task<MosquittoSub> StartAsync(int port, params string[] arguments)
    {
        // Into a pipe it would write its lines when 4 KB are full. -d says when it is subscribed; its own lines begin with "Client" or "Subscribed".
        var process = Process.Start(new ProcessStartInfo("stdbuf", ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-p", $"{port}", "-d", .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var sub = new MosquittoSub(process);
        var subscribed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        process.OutputDataReceived += (_, line) => sub.Add(line.Data, subscribed);
        process.ErrorDataReceived += (_, line) => sub.Add(line.Data, subscribed);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        await subscribed.Task.WaitAsync(s_patience);
        return sub;
    }

    public async Task WaitForAsync(int count)
    {
        var clock = Stopwatch.StartNew();
        while (Lines.Length < count)
        {
            Assert.True(clock.Elapsed < s_patience, $"waited for {count} lines, so far: {string.Join(" | ", Lines)}");
            await Task.Delay(5);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
    }

    private void Add(string? line, TaskCompletionSource subscribed)
    {
        if (line is null)
            return;
        if (line.StartsWith("Subscribed", StringComparison.Ordinal))
            subscribed.TrySetResult();
        else if (!line.StartsWith("Client ", StringComparison.Ordinal))
        {
            lock (_gate)
                _lines.Add(line);
        }
    }
}
