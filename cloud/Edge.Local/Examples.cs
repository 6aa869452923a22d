using System.Globalization;
using System.Text.Json.Nodes;
using Edge.Kubernetes;
using Edge.Local.Processes;

namespace Edge.Local;

/// <summary>The manifests of docs/examples, with what only this run knows filled in.</summary>
public static class Examples
{
    private const string DmiDirectory = "${DMI_DIR}";

    /// <summary>The text of a file below docs/examples; <c>EDGE_EXAMPLES_DIR</c> names the folder where there is no source tree.</summary>
    public static string Read(string path)
    {
        var folder = Environment.GetEnvironmentVariable("EDGE_EXAMPLES_DIR") is { Length: > 0 } set ? set
            : Executables.SourceTree is { } tree ? Path.Combine(tree, "docs/examples")
            : throw new FileNotFoundException($"docs/examples/{path}: there is no source tree around this program; set EDGE_EXAMPLES_DIR to the folder with the examples");
        return File.ReadAllText(Path.Combine(folder, path));
    }

    public static IReadOnlyList<JsonObject> MapperPod(string dmiDirectory)
        => Manifests.Parse(Read("pods/modbus-mapper.yaml").Replace(DmiDirectory, dmiDirectory, StringComparison.Ordinal));

    /// <summary>The mapper's config file: the one that the mapper pod gets through its ConfigMap.</summary>
    public static string MapperConfig(string dmiDirectory)
        => MapperPod(dmiDirectory).First(obj => obj.Kind() == "ConfigMap").Text("data", "config.yaml");

    /// <summary>The example device, on the simulator's port instead of the one in the file.</summary>
    public static IReadOnlyList<JsonObject> Device(int modbusPort)
    {
        var objects = Manifests.Parse(Read("devices/device.yaml"));
        foreach (var device in objects.Where(obj => obj.Kind() == "Device"))
        {
            if (device.At("spec", "protocol", "configData") is JsonObject config)
                SetPort(config, modbusPort);
        }

        return objects;
    }

    // The file says port: 1502, at the top of configData or in a section of it.
    private static void SetPort(JsonObject config, int port)
    {
        foreach (var (key, value) in config.ToList())
        {
            if (value is JsonObject section)
                SetPort(section, port);
            else if (key == "port")
                config[key] = value!.GetValueKind() == System.Text.Json.JsonValueKind.String ? port.ToString(CultureInfo.InvariantCulture) : port;
        }
    }
}
