using Edge.Local.Processes;

namespace Edge.Ctl.Commands;

/// <summary>Where cloudcore and edgecore are on this machine.</summary>
internal static class Programs
{
    /// <summary>Full path: beside edgectl, on PATH, or in the build output.</summary>
    /// <exception cref="JoinException">It is nowhere.</exception>
    public static string Find(string name)
    {
        var beside = Path.Combine(AppContext.BaseDirectory, name);
        if (File.Exists(beside))
            return beside;
        if (Tool.OnPath(name) is { } found)
            return found;
        try
        {
            return Executables.Find(name);
        }
        catch (FileNotFoundException)
        {
            throw new JoinException($"{name} is not beside edgectl and not on PATH; install it there");
        }
    }
}
