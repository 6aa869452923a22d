namespace Edge.Local.Processes;

/// <summary>Where the executables of Edge are. In this order: <c>EDGE_BIN_DIR</c> (<c>DIR/NAME/NAME</c> or <c>DIR/NAME</c>), beside this
/// program when it was published, the build output of the source tree in this program's configuration, and what the tree last published.</summary>
public static class Executables
{
    private static readonly Dictionary<string, string> s_projects = new()
    {
        ["cloudcore"] = "cloud/CloudCore.Host",
        ["edgecore"] = "edge/EdgeCore.Host",
        ["edgectl"] = "cloud/Edgectl",
        ["modbus-mapper"] = "devices/Edge.Devices.Modbus.Host",
        ["mqtt-mapper"] = "devices/Edge.Devices.Mqtt.Host",
        ["edge-simulator"] = "simulators/Edge.Simulators.Host",
    };

    /// <summary>The root of the source tree this program was built in, or null.</summary>
    public static string? SourceTree { get; } = FindSourceTree();

    /// <summary>The full path of an executable; throws <see cref="FileNotFoundException"/> that lists where it was looked for.</summary>
    public static string Find(string name)
    {
        var candidates = Candidates(name).ToList();
        return candidates.FirstOrDefault(File.Exists)
            ?? throw new FileNotFoundException(
                $"the executable {name} is not built; looked for {string.Join(", ", candidates)}. Run ./up.sh or 'dotnet build Edge.sln', or set EDGE_BIN_DIR");
    }

    /// <summary>The folder with a self-contained publish of an executable, for a container image; null when there is none.</summary>
    public static string? FindSelfContained(string name)
        => Candidates(name).Append(SourceTree is { } tree ? Path.Combine(tree, "artifacts/publish", name, name) : null)
            .Select(Path.GetDirectoryName)
            .FirstOrDefault(folder => folder is not null && File.Exists(Path.Combine(folder, name)) && File.Exists(Path.Combine(folder, "libcoreclr.so")));

    private static IEnumerable<string> Candidates(string name)
    {
        if (Environment.GetEnvironmentVariable("EDGE_BIN_DIR") is { Length: > 0 } directory)
        {
            yield return Path.Combine(directory, name, name);
            yield return Path.Combine(directory, name);
        }

        // .../artifacts/publish/edgectl/ -> .../artifacts/publish/NAME/NAME
        var here = Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory);
        if (Path.GetDirectoryName(here) is { } parent)
            yield return Path.Combine(parent, name, name);
        if (SourceTree is not { } tree)
            yield break;

        // .../bin/Debug/net10.0/ names the configuration.
        var configuration = here.Split('/').SkipWhile(part => part != "bin").Skip(1).FirstOrDefault() ?? "Release";
        yield return Path.Combine(tree, s_projects[name], "bin", configuration, "net10.0", name);
        yield return Path.Combine(tree, "artifacts/publish", name, name);
    }

    private static string? FindSourceTree()
    {
        for (var directory = AppContext.BaseDirectory; directory is not null; directory = Path.GetDirectoryName(directory))
        {
            if (File.Exists(Path.Combine(directory, "Edge.sln")))
                return directory;
        }

        return null;
    }
}
