using System.Text.Json.Nodes;
using Edge.Devices.Local;

namespace Edge.Devices;

/// <summary>What a protocol brings to the framework.</summary>
public interface IDeviceDriver
{
    /// <summary>The protocol's name in manifests, e.g. <c>modbus</c>.</summary>
    string Protocol { get; }

    /// <summary>Reads a device's protocol config. Opens nothing yet.</summary>
    /// <exception cref="DeviceConfigException">The config cannot be used.</exception>
    IDeviceConnection Create(JsonObject protocolConfig);

    /// <summary>Adds the protocol's own figures to the mapper's <c>/metrics</c>.</summary>
    void WriteMetrics(MetricsText text)
    {
    }
}

/// <summary>One device. All calls come from one task, one after another.</summary>
public interface IDeviceConnection : IAsyncDisposable
{
    /// <summary>Checks a property's visitor and gives the way to it. Opens nothing.</summary>
    /// <exception cref="DeviceConfigException">The visitor is impossible; the message says what and how to fix it.</exception>
    IPropertyAccess Bind(PropertyInfo property);

    /// <summary>Takes over a changed protocol config when it names the same device: then it stays connected, and what was written to it is not written again.
    /// Its properties are bound anew.</summary>
    /// <returns>False when it does not, and is to be made anew.</returns>
    /// <exception cref="DeviceConfigException">The config cannot be used.</exception>
    bool TryChange(JsonObject protocolConfig) => false;

    /// <summary>Connects, or does nothing when connected.</summary>
    /// <exception cref="DeviceUnreachableException">The device cannot be reached.</exception>
    Task ConnectAsync(CancellationToken cancellationToken);

    /// <summary>For a protocol whose values come by themselves: <paramref name="wake"/> is called, from any thread, when one has come or the connection changed.</summary>
    void WhenArrived(Action wake)
    {
    }

    /// <summary>True once when the device is heard to have started only now, although it had been taken to be there: what was written to it before may be lost.</summary>
    bool TakeStarted() => false;

    /// <summary>Reads several properties that are due at one time. This one reads them one after another; a protocol that can read many at once does
    /// better.</summary>
    /// <param name="properties">What <see cref="Bind"/> gave.</param>
    /// <param name="readings">Gets one reading for each property, at its place.</param>
    /// <exception cref="DeviceUnreachableException">The connection broke; what was read so far is lost.</exception>
    async Task ReadAsync(IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
    {
        for (var i = 0; i < properties.Count; i++)
        {
            try
            {
                readings[i] = new PropertyReading(await properties[i].ReadAsync(cancellationToken));
            }
            catch (DeviceRefusedException e)
            {
                readings[i] = new PropertyReading(null, e.Message);
            }
        }
    }
}

/// <summary>What reading one property gave: a value as text, or why there is none.</summary>
public readonly record struct PropertyReading(string? Value, string Error = "")
{
    /// <summary>For a property with <see cref="PropertyInfo.KeepsHistory"/> whose values come by themselves: all that came since the last reading, oldest first. Value and Error then say
    /// only what is so now, and are no sample. Null: this reading is the sample.</summary>
    public IReadOnlyList<PropertySample>? Arrived { get; init; }

    /// <summary>Values before these that were lost for want of room.</summary>
    public int Dropped { get; init; }
}

/// <summary>A value that came by itself, or why what came is none.</summary>
/// <param name="AtMs">When it came, ms since the epoch.</param>
public readonly record struct PropertySample(string? Value, string Error, long AtMs);

/// <summary>One property of a device.</summary>
public interface IPropertyAccess
{
    /// <summary>A value has come by itself since the last read: it is read at once, whatever the collectCycle.</summary>
    bool HasArrived => false;

    /// <summary>Reads the value as text, invariant culture.</summary>
    /// <exception cref="DeviceUnreachableException">The connection broke.</exception>
    /// <exception cref="DeviceRefusedException">The device is there and refused.</exception>
    Task<string> ReadAsync(CancellationToken cancellationToken);

    /// <summary>Writes a value.</summary>
    /// <exception cref="DeviceUnreachableException">The connection broke.</exception>
    /// <exception cref="DeviceRefusedException">The device refused, or the value does not fit.</exception>
    Task WriteAsync(string value, CancellationToken cancellationToken);
}

/// <summary>A property as the manifests describe it.</summary>
/// <param name="Type">The model's type in lower case: int, float, double, boolean, string …</param>
/// <param name="Writable">The model's accessMode is ReadWrite.</param>
/// <param name="KeepsHistory">The Device's annotation <c>devices.edge.io/history</c> names it: no sample may be left out.</param>
public sealed record PropertyInfo(
    string Name, string Type, bool Writable, string Minimum, string Maximum, string VisitorProtocol, JsonObject Visitor, bool KeepsHistory = false);

/// <summary>A manifest asks for something impossible; only another manifest mends it.</summary>
public sealed class DeviceConfigException(string message) : Exception(message);

/// <summary>The device does not answer; it is tried again.</summary>
public sealed class DeviceUnreachableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The device answered with a refusal, or the value does not fit.</summary>
public sealed class DeviceRefusedException(string message, Exception? inner = null) : Exception(message, inner);
