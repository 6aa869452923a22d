using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Edge.Local.Processes;
using Edge.Testing;

namespace Edge.Devices.Tests;

/// <summary>A real database server of one test, with its files in a folder of its own; its port stays its own.</summary>
internal abstract class DatabaseServer : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(90);
    private readonly PortLease _port = PortLease.Take();
    private Process? _process;

    protected TempDirectory Directory { get; } = new();

    public int Port => _port.Port;

    /// <summary>Starts it, or starts it again on its old port.</summary>
    public async Task StartAsync()
    {
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < s_patience)
        {
            if (await TryStartAsync(clock))
                return;
        }

        Assert.Fail($"the server did not start within {s_patience.TotalSeconds} s");
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
        Directory.Dispose();
    }

    protected abstract (string Program, string[] Arguments) Command();

    /// <summary>Whether it answers.</summary>
    protected abstract Task<bool> AnswersAsync();

    /// <summary>Runs a program to its end and gives what it wrote, or null when it failed.</summary>
    protected static async Task<string?> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        await errors;
        return process.ExitCode == 0 ? await output : null;
    }

    private async Task<bool> TryStartAsync(Stopwatch clock)
    {
        var (program, arguments) = Command();
        _process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        _process.OutputDataReceived += (_, _) => { }; // read, so that it never blocks
        _process.ErrorDataReceived += (_, _) => { };
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        while (!_process.HasExited && clock.Elapsed < s_patience)
        {
            if (await AnswersAsync())
                return true;
            await Task.Delay(50);
        }

        await KillAsync();
        return false;
    }
}

internal sealed class RedisServer : DatabaseServer
{
    public const string Password = "correct horse";

    public static void Require() => Skip.If(Tool.OnPath("redis-server") is null || Tool.OnPath("redis-cli") is null, "redis-server (Debian: redis-server)");

    public async Task<string> AskAsync(params string[] command)
        => (await RunAsync("redis-cli", ["-p", $"{Port}", "-n", "2", "--no-auth-warning", "-a", Password, .. command]))!.TrimEnd();

    protected override (string Program, string[] Arguments) Command()
        => ("redis-server", ["--port", $"{Port}", "--bind", "127.0.0.1", "--dir", Directory.Path, "--requirepass", Password, "--appendonly", "yes", "--appendfsync", "always"]);

    protected override async Task<bool> AnswersAsync() => await RunAsync("redis-cli", "-p", $"{Port}", "--no-auth-warning", "-a", Password, "ping") == "PONG\n";
}

internal sealed class MariaDbServer : DatabaseServer
{
    public const string Password = "correct horse";

    private string Socket => Directory.File("s.sock");

    public static void Require()
        => Skip.If(Tool.OnPath("mariadbd") is null || Tool.OnPath("mariadb-install-db") is null || !Environment.IsPrivilegedProcess, "root, and mariadbd (Debian: mariadb-server)");

    /// <summary>An empty database "plant" whose user "mapper" may do all in it.</summary>
    public static async Task<MariaDbServer> StartNewAsync()
    {
        var server = new MariaDbServer();
        Assert.NotNull(await RunAsync("mariadb-install-db", "--no-defaults", $"--datadir={server.Directory.File("data")}", "--user=root", "--auth-root-authentication-method=normal", "--skip-test-db"));
        await server.StartAsync();
        await server.AskAsync($"CREATE DATABASE plant; CREATE USER mapper@'%' IDENTIFIED BY '{Password}'; GRANT ALL ON plant.* TO mapper@'%'");
        return server;
    }

    /// <summary>Rows as lines, columns parted by tabs.</summary>
    public async Task<string> AskAsync(string sql)
        => (await RunAsync("mariadb", "--no-defaults", "-u", "root", "-S", Socket, "--default-character-set=utf8mb4", "-N", "-B", "-e", sql) ?? throw new InvalidOperationException(sql)).TrimEnd('\n');

    protected override (string Program, string[] Arguments) Command()
        => ("mariadbd",
            [
                "--no-defaults", $"--datadir={Directory.File("data")}", $"--socket={Socket}", $"--port={Port}", "--bind-address=127.0.0.1", "--user=root", "--innodb-buffer-pool-size=16M",
                "--sql-mode=STRICT_ALL_TABLES,NO_BACKSLASH_ESCAPES", "--skip-name-resolve",
            ]);

    protected override async Task<bool> AnswersAsync() => await RunAsync("mariadb", "--no-defaults", "-u", "root", "-S", Socket, "-e", "SELECT 1") is not null;
}
