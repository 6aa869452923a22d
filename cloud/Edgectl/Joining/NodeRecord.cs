using System.Text.Json;
using System.Text.Json.Nodes;

namespace Edge.Ctl.Joining;

/// <summary>What <c>edgectl join</c> made on this machine, kept beside the config so that <c>edgectl reset</c> removes that and nothing else.</summary>
/// <param name="Config">The edgecore.yaml.</param>
/// <param name="DataDirectory">Where edgecore keeps everything; null for KubeEdge's paths.</param>
/// <param name="UnitFile">The systemd unit; null when none was written.</param>
/// <param name="Runtime">The CRI endpoint.</param>
internal sealed record NodeRecord(string Config, string? DataDirectory, string? UnitFile, string Runtime)
{
    public static string PathOf(string config) => config + ".join.json";

    /// <summary>The directories that edgecore fills, as its defaults have them.</summary>
    public IReadOnlyList<string> Directories => DataDirectory is { } data
        ? [data]
        : ["/etc/kubeedge/ca", "/etc/kubeedge/certs", "/var/lib/kubeedge"];

    /// <summary>Where the pods' volumes are, a directory for each by its uid.</summary>
    public string PodsDirectory => Path.Combine(DataDirectory is { } data ? Path.Combine(data, "kubelet") : "/var/lib/kubelet", "pods");

    /// <summary>Where edgecore.ports.json is.</summary>
    public string StateDirectory => DataDirectory ?? "/var/lib/kubeedge";

    public void Write()
    {
        var path = PathOf(Config);
        File.WriteAllText(path, new JsonObject { ["config"] = Config, ["dataDir"] = DataDirectory, ["unit"] = UnitFile, ["runtime"] = Runtime }.ToJsonString() + "\n");
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
    }

    /// <summary>Null when this config was not written by join.</summary>
    /// <exception cref="Commands.JoinException">The record cannot be read.</exception>
    public static NodeRecord? Read(string config)
    {
        var path = PathOf(config);
        if (!File.Exists(path))
            return null;
        try
        {
            var root = JsonNode.Parse(File.ReadAllText(path))!.AsObject();
            return new NodeRecord((string)root["config"]!, (string?)root["dataDir"], (string?)root["unit"], (string?)root["runtime"] ?? "");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or IOException or UnauthorizedAccessException or NullReferenceException)
        {
            throw new Commands.JoinException($"{path}, in which join noted what it made, cannot be read: {e.Message}");
        }
    }
}
