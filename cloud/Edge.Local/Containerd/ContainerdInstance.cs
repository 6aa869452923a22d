using System.Diagnostics;
using Edge.Protocol.Cri;
using Edge.Protocol.Grpc;
using Microsoft.Extensions.Logging;

namespace Edge.Local.Containerd;

/// <summary>containerd could not be started, or does not answer.</summary>
public sealed class ContainerdException(string message) : Exception(message);

/// <summary>A containerd of its own: root, state, socket and CNI configuration under one directory, a bridge and a subnet of its own.</summary>
/// <remarks>Images stay in the directory from one start to the next. Works on cgroup v1 and v2 and without CAP_SYS_RESOURCE
/// (<c>restrict_oom_score_adj</c>). Needs root, containerd, runc and the CNI plugins.</remarks>
public sealed partial class ContainerdInstance : IAsyncDisposable
{
    /// <summary>The pause image a sandbox runs; whoever starts pods imports an image of this name first.</summary>
    public const string SandboxImage = "docker.io/edge/pause:1.0";

    private static readonly TimeSpan s_startDeadline = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan s_execDeadline = TimeSpan.FromSeconds(30);
    private readonly string _directory;
    private readonly PodNetwork _network;
    private Process _process;

    private ContainerdInstance(string directory, PodNetwork network, Process process)
    {
        _directory = directory;
        _network = network;
        _process = process;
    }

    /// <summary>The path of the CRI socket (no <c>unix://</c> before it).</summary>
    public string Socket => ContainerdFiles.Socket(_directory);

    /// <summary>The folder of its CNI configurations; containerd reads it again whenever a file in it changes.</summary>
    public string CniDirectory => ContainerdFiles.Cni(_directory);

    public int ProcessId => _process.Id;

    /// <summary>Starts containerd and waits until it answers. What an earlier, killed instance left in the directory is removed first.</summary>
    /// <param name="directory">Its home; made when missing.</param>
    /// <param name="name">Shows in the log only.</param>
    /// <param name="handlers">Names under which runc serves besides its own, for RuntimeClasses; none by default.</param>
    /// <exception cref="ContainerdException">Not installed, not root, or no answer within 30 s; with the last lines of its log.</exception>
    public static Task<ContainerdInstance> StartAsync(string directory, string name, ILogger logger, CancellationToken cancellationToken, params IReadOnlyList<string> handlers)
        => StartAsync(directory, name, false, logger, cancellationToken, handlers);

    /// <inheritdoc cref="StartAsync(string, string, ILogger, CancellationToken, IReadOnlyList{string})"/>
    /// <param name="systemdCgroup">Whether cgroups are made by systemd, which must be this machine's init.</param>
    public static async Task<ContainerdInstance> StartAsync(
        string directory, string name, bool systemdCgroup, ILogger logger, CancellationToken cancellationToken, params IReadOnlyList<string> handlers)
    {
        directory = Path.GetFullPath(directory);
        if (!Environment.IsPrivilegedProcess)
            throw new ContainerdException("containerd needs root; start as root, or leave pods out with --no-pods");
        var program = FindOnPath("containerd") ?? throw new ContainerdException("containerd is not installed; on Debian: apt-get install containerd runc containernetworking-plugins");
        await CleanUpAsync(directory);
        Directory.CreateDirectory(directory);
        var network = PodNetwork.Claim(directory);
        ContainerdFiles.Write(directory, network, handlers, systemdCgroup);

        var instance = new ContainerdInstance(directory, network, Launch(program, directory));
        try
        {
            await instance.WaitUntilReadyAsync(cancellationToken);
        }
        catch
        {
            await instance.DisposeAsync();
            throw;
        }

        ContainerdLog.Started(logger, name, instance.Socket, network.Bridge, network.Subnet);
        return instance;
    }

    /// <summary>Ends containerd alone, as <c>systemctl stop containerd</c> does: containers and their shims go on.</summary>
    public async Task StopAsync()
    {
        if (_process.HasExited)
            return;
        _ = ContainerdNative.Kill(_process.Id, ContainerdNative.SigTerm);
        using var deadline = new CancellationTokenSource(TimeSpan.FromSeconds(5));
        try
        {
            await _process.WaitForExitAsync(deadline.Token);
        }
        catch (OperationCanceledException)
        {
            _process.Kill();
            await _process.WaitForExitAsync(CancellationToken.None);
        }
    }

    /// <summary>What a power cut leaves: no process, mount, network namespace or bridge, and no run state; files and the subnet stay.</summary>
    public async Task CutPowerAsync()
    {
        await ContainerdRemains.RemoveAsync(_directory);
        await _process.WaitForExitAsync(CancellationToken.None);
        await _network.RemoveBridgeAsync();
    }

    /// <summary>Starts containerd again after <see cref="StopAsync"/> or <see cref="CutPowerAsync"/>, with the same files, and waits until it answers.</summary>
    /// <exception cref="ContainerdException">It runs already, or does not answer within 30 s.</exception>
    public async Task StartAgainAsync(CancellationToken cancellationToken)
    {
        if (!_process.HasExited)
            throw new ContainerdException($"containerd on {Socket} still runs as process {_process.Id}; stop it first");
        _process.Dispose();
        _process = Launch(FindOnPath("containerd") ?? throw new ContainerdException("containerd is not installed any more"), _directory);
        await WaitUntilReadyAsync(cancellationToken);
    }

    /// <summary>Runs a command in a container and returns what it wrote to its standard output. By CRI, not by ctr, which closes the output when
    /// the process ends and loses what it has not copied by then.</summary>
    /// <exception cref="ContainerdException">The command ended with another code than 0; the message has the code and what it wrote to its standard error.</exception>
    /// <exception cref="GrpcException">The container is not there, does not run, or has no such program.</exception>
    public async Task<string> ExecAsync(string containerId, IReadOnlyList<string> command, CancellationToken cancellationToken)
    {
        using var cri = new CriClient("unix://" + Socket, TimeProvider.System, s_startDeadline);
        var answer = await cri.ExecSyncAsync(containerId, command, s_execDeadline, cancellationToken);
        if (answer.ExitCode != 0)
            throw new ContainerdException($"'{string.Join(' ', command)}' in container {containerId} ended with code {answer.ExitCode}: {answer.Stderr.ToStringUtf8().Trim()}");
        return answer.Stdout.ToStringUtf8();
    }

    /// <summary>Stops every container (SIGTERM, after 3 s SIGKILL), the shims and containerd; removes mounts, network namespaces, the bridge and cgroups.</summary>
    public async ValueTask DisposeAsync()
    {
        await ContainerdRemains.StopContainersAsync(_directory, TimeSpan.FromSeconds(3));
        await StopAsync();
        _process.Dispose();
        await CleanUpAsync(_directory);
    }

    /// <summary>Removes what an instance of this directory left running, however it ended; its files stay. Does nothing when there is nothing.</summary>
    public static async Task CleanUpAsync(string directory)
    {
        directory = Path.GetFullPath(directory);
        if (!Directory.Exists(directory))
            return;
        await ContainerdRemains.RemoveAsync(directory);
        await PodNetwork.ReleaseAsync(directory);
    }

    // A shell only to send the output to a file; exec keeps the process id. A session of its own: Ctrl-C in the terminal is not for containerd.
    private static Process Launch(string program, string directory)
    {
        var start = new ProcessStartInfo("/bin/sh") { WorkingDirectory = directory };
        foreach (var argument in (string[])["-c", "exec setsid \"$0\" --config \"$1\" >>\"$2\" 2>&1", program, ContainerdFiles.Config(directory), ContainerdFiles.Log(directory)])
            start.ArgumentList.Add(argument);
        return Process.Start(start) ?? throw new ContainerdException($"{program} did not start");
    }

    private static string? FindOnPath(string program)
        => ((string[])[.. (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'), "/usr/sbin", "/usr/bin"])
            .Select(folder => Path.Combine(folder, program)).FirstOrDefault(File.Exists);

    private async Task WaitUntilReadyAsync(CancellationToken cancellationToken)
    {
        var started = TimeProvider.System.GetTimestamp();
        using var cri = new CriClient("unix://" + Socket, TimeProvider.System, s_startDeadline);
        while (true)
        {
            if (_process.HasExited)
                throw new ContainerdException($"containerd ended with code {_process.ExitCode}: {LogTail()}");
            try
            {
                // The socket is there before the plugins are; CRI is answered only when it serves and has found again what ran.
                await cri.ListPodSandboxAsync(null, cancellationToken);
                return;
            }
            catch (GrpcException)
            {
                // Not so far.
            }

            if (TimeProvider.System.GetElapsedTime(started) > s_startDeadline)
                throw new ContainerdException($"containerd does not answer on {Socket} after {s_startDeadline.TotalSeconds} s: {LogTail()}");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, cancellationToken);
        }
    }

    private string LogTail()
    {
        var log = ContainerdFiles.Log(_directory);
        return File.Exists(log) ? string.Join(" | ", File.ReadLines(log).TakeLast(5)) : "no log";
    }
}

internal static partial class ContainerdLog
{
    [LoggerMessage(8000, LogLevel.Information, "containerd {Name} serves on {Socket}; pods are on bridge {Bridge}, {Subnet}.")]
    public static partial void Started(ILogger logger, string name, string socket, string bridge, string subnet);
}
