using System.Diagnostics;

namespace Edge.Local.Processes;

/// <summary>A child in a session of its own (Ctrl-C in the terminal does not reach it), whose output goes straight to a log file and
/// therefore survives this process, and which carries <see cref="ProcessTable.Marker"/>.</summary>
public sealed class ChildProcess : IDisposable
{
    // The shell only redirects and gives way to the program: the process id stays the same.
    private const string Launch = "exec setsid \"$@\" </dev/null >>\"$EDGE_CHILD_LOG\" 2>&1";

    private readonly Process _process;
    private readonly TimeProvider _time;
    private bool _stopping;

    private ChildProcess(string name, string logPath, Process process, TimeProvider time)
    {
        Name = name;
        LogPath = logPath;
        _process = process;
        _time = time;
        Id = process.Id;
        Exited = WatchAsync();
    }

    public string Name { get; }

    public string LogPath { get; }

    public int Id { get; }

    /// <summary>Completes when the process has ended; never fails.</summary>
    public Task Exited { get; }

    /// <summary>True when it ended without <see cref="StopAsync"/> or <see cref="KillAsync"/>.</summary>
    public bool Died => Exited.IsCompleted && !_stopping;

    /// <summary>The exit code; 128 + n for a signal n. Only once <see cref="Exited"/> has completed.</summary>
    public int ExitCode => _process.ExitCode;

    /// <param name="name">For messages and the name of the log file, <c>DIRECTORY/logs/NAME.log</c>.</param>
    /// <param name="directory">The full path of the local Edge's directory, see <see cref="ProcessTable.Marker"/>.</param>
    /// <param name="file">The program.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="time">The clock for the deadline of <see cref="StopAsync"/>.</param>
    public static ChildProcess Start(string name, string directory, string file, IEnumerable<string> arguments, TimeProvider time)
    {
        var logPath = Path.Combine(directory, "logs", $"{name}.log");
        Directory.CreateDirectory(Path.GetDirectoryName(logPath)!);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false };
        foreach (var argument in (string[])["-c", Launch, "sh", file, .. arguments])
            start.ArgumentList.Add(argument);
        start.Environment["EDGE_CHILD_LOG"] = logPath;
        start.Environment[ProcessTable.Marker] = directory;
        var process = Process.Start(start) ?? throw new InvalidOperationException($"{name}: could not start {file}");
        return new ChildProcess(name, logPath, process, time);
    }

    /// <summary>Asks it to stop (SIGTERM) and kills it after <paramref name="grace"/>; returns false when it had to be killed.</summary>
    public async Task<bool> StopAsync(TimeSpan grace)
    {
        _stopping = true;
        if (Exited.IsCompleted)
            return true;
        _ = Native.Kill(Id, Native.SigTerm);
        try
        {
            await Exited.WaitAsync(grace, _time);
            return true;
        }
        catch (TimeoutException)
        {
            _ = Native.Kill(Id, Native.SigKill);
            await Exited;
            return false;
        }
    }

    /// <summary>SIGKILL, as a crash or a power cut would end it.</summary>
    public async Task KillAsync()
    {
        _stopping = true;
        if (!Exited.IsCompleted)
            _ = Native.Kill(Id, Native.SigKill);
        await Exited;
    }

    /// <summary>The last lines of its log.</summary>
    public string LogTail(int lines) => LogFile.Tail(LogPath, lines);

    public void Dispose() => _process.Dispose();

    private async Task WatchAsync() => await _process.WaitForExitAsync(CancellationToken.None);
}
