namespace Edge.Local.Containerd;

/// <summary>Arguments with which <c>ctr</c> runs a command in a container and shows all that it writes.</summary>
public static class CtrExec
{
    /// <summary>The command, kept alive for a moment after its end: ctr 1.6 closes the output when the process ends, and what it has not
    /// copied by then is lost. Needs a shell in the container.</summary>
    public static string[] Arguments(string execId, string containerId, params string[] command)
        => ["task", "exec", "--exec-id", execId, containerId, "sh", "-c", "\"$@\"; code=$?; sleep 0.2; exit $code", "exec", .. command];
}
