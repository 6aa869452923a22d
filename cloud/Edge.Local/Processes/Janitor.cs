using System.Diagnostics;

namespace Edge.Local.Processes;

/// <summary>The process that cleans up when its owner dies, however it dies. It runs <c>edgectl up-janitor</c> in a session of its own, detached
/// from the owner's process tree, and holds the read end of a pipe whose write end only the owner has: end of file means that the owner is gone.</summary>
public sealed class Janitor : IDisposable
{
    /// <summary>The hidden command of edgectl.</summary>
    public const string Command = "up-janitor";

    private const string Done = "done";

    // Through a shell that ends at once, so that killing the owner's process tree does not find the janitor as a child.
    private const string Launch = "exec 3<&0; setsid \"$@\" <&3 3<&- >>\"$EDGE_CHILD_LOG\" 2>&1 &";

    private readonly Process _shell;

    private Janitor(Process shell) => _shell = shell;

    /// <summary>Starts it for <paramref name="directory"/>, before anything else is started there.</summary>
    /// <param name="directory">The full path of the local Edge's directory.</param>
    /// <param name="removeDirectory">Whether it also removes the directory.</param>
    public static Janitor Start(string directory, bool removeDirectory)
    {
        var logs = Path.Combine(directory, "logs");
        Directory.CreateDirectory(logs);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false, RedirectStandardInput = true };
        foreach (var argument in (string[])["-c", Launch, "sh", Executables.Find("edgectl"), Command, directory, .. removeDirectory ? ["--remove"] : Array.Empty<string>()])
            start.ArgumentList.Add(argument);
        start.Environment["EDGE_CHILD_LOG"] = Path.Combine(logs, "janitor.log");
        return new Janitor(Process.Start(start)!);
    }

    /// <summary>The janitor's own life: waits for the owner's word or death, and cleans in the second case. Returns whether it had to.</summary>
    public static async Task<bool> RunAsync(string directory, bool removeDirectory, TextReader input, TimeProvider time)
    {
        while (await input.ReadLineAsync() is { } line)
        {
            if (line == Done)
                return false;
        }

        await Leftovers.CleanAsync(directory, time);
        if (removeDirectory && Directory.Exists(directory))
            Directory.Delete(directory, recursive: true);
        return true;
    }

    /// <summary>Sends it home: the owner has cleaned up itself.</summary>
    public void Dismiss()
    {
        try
        {
            _shell.StandardInput.WriteLine(Done);
            _shell.StandardInput.Close();
        }
        catch (IOException)
        {
            // It is gone already (killed by someone): there is nobody to send home.
        }
    }

    public void Dispose() => _shell.Dispose();
}
