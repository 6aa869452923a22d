using System.Text.Json.Nodes;

namespace Edge.Devices;

/// <summary>A protocol in one class: connect, read, write. The framework does the rest: cycles, reports, back-off, push, the local API (devices/README.md). For a
/// protocol that reads many properties at once, override <see cref="ReadAsync(IReadOnlyList{IPropertyAccess}, PropertyReading[], CancellationToken)"/>.</summary>
public abstract class SimpleDevice : IDeviceConnection
{
    /// <summary>Connects, or does nothing when connected. Called again after a <see cref="DeviceUnreachableException"/>.</summary>
    /// <exception cref="DeviceUnreachableException">The device cannot be reached.</exception>
    public abstract Task ConnectAsync(CancellationToken cancellationToken);

    /// <summary>Reads a value as text, invariant culture.</summary>
    /// <exception cref="DeviceUnreachableException">The connection broke.</exception>
    /// <exception cref="DeviceRefusedException">The device is there and refused.</exception>
    public abstract Task<string> ReadAsync(PropertyInfo property, CancellationToken cancellationToken);

    /// <summary>Writes a value. Without an override every write is refused.</summary>
    /// <exception cref="DeviceUnreachableException">The connection broke.</exception>
    /// <exception cref="DeviceRefusedException">The device refused, or the value does not fit.</exception>
    public virtual Task WriteAsync(PropertyInfo property, string value, CancellationToken cancellationToken)
        => throw new DeviceRefusedException("this protocol cannot write");

    /// <summary>Looks at a property's visitor when its manifest comes, so that a mistake is told at once.</summary>
    /// <exception cref="DeviceConfigException">The visitor is impossible; the message says what and how to fix it.</exception>
    public virtual void Check(PropertyInfo property)
    {
    }

    public virtual async Task ReadAsync(IReadOnlyList<IPropertyAccess> properties, PropertyReading[] readings, CancellationToken cancellationToken)
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

    public virtual ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        return ValueTask.CompletedTask;
    }

    IPropertyAccess IDeviceConnection.Bind(PropertyInfo property)
    {
        Check(property);
        return new Access(this, property);
    }

    private sealed class Access(SimpleDevice device, PropertyInfo property) : IPropertyAccess
    {
        public Task<string> ReadAsync(CancellationToken cancellationToken) => device.ReadAsync(property, cancellationToken);

        public Task WriteAsync(string value, CancellationToken cancellationToken) => device.WriteAsync(property, value, cancellationToken);
    }
}

/// <summary>The driver of a <see cref="SimpleDevice"/>.</summary>
/// <param name="create">Makes a device of its <c>protocol.configData</c>; opens nothing yet, and throws DeviceConfigException when it cannot be used.</param>
public sealed class SimpleDriver(string protocol, Func<JsonObject, SimpleDevice> create) : IDeviceDriver
{
    public string Protocol => protocol;

    public IDeviceConnection Create(JsonObject protocolConfig) => create(protocolConfig);
}
