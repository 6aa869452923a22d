using System.Text.Json.Nodes;
using Edge.Devices;

namespace FileMapper;

/// <summary>Files as devices: thermal zones and GPIO of /sys, say. The directory is the device, a file a property.</summary>
public sealed class FileDevice(JsonObject config) : SimpleDevice
{
    private readonly string _directory = (string?)config["directory"]
        ?? throw new DeviceConfigException("protocol.configData.directory is missing: where the files are");

    public override void Check(PropertyInfo property)
    {
        if ((string?)property.Visitor["file"] is not { } file || file.Contains('/', StringComparison.Ordinal))
            throw new DeviceConfigException("visitors.configData.file must be the name of a file in the directory");
    }

    public override Task ConnectAsync(CancellationToken cancellationToken)
        => Directory.Exists(_directory) ? Task.CompletedTask : throw new DeviceUnreachableException($"{_directory} does not exist");

    public override async Task<string> ReadAsync(PropertyInfo property, CancellationToken cancellationToken)
    {
        try
        {
            return (await File.ReadAllTextAsync(PathOf(property), cancellationToken)).Trim();
        }
        catch (DirectoryNotFoundException e)
        {
            throw new DeviceUnreachableException(e.Message, e); // offline, and tried again with growing delays
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DeviceRefusedException(e.Message, e); // this property's error; the others go on
        }
    }

    public override async Task WriteAsync(PropertyInfo property, string value, CancellationToken cancellationToken)
    {
        try
        {
            await File.WriteAllTextAsync(PathOf(property), value, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DeviceRefusedException(e.Message, e);
        }
    }

    private string PathOf(PropertyInfo property) => Path.Combine(_directory, (string)property.Visitor["file"]!);
}
