using System.Text.Json.Nodes;
using Edge.Protocol.Modbus;

namespace Edge.Devices.Modbus;

/// <summary>Modbus TCP slaves as devices. Keys of the manifests are those of KubeEdge's Modbus mapper, with <c>dataType</c> and <c>bit</c> beside them.</summary>
public sealed class ModbusDriver(TimeProvider time) : IDeviceDriver
{
    public string Protocol => "modbus";

    public IDeviceConnection Create(JsonObject protocolConfig) => new ModbusConnection(ModbusEndpoint.Read(protocolConfig), time);
}

/// <summary>One slave on its own TCP connection.</summary>
internal sealed class ModbusConnection(ModbusEndpoint endpoint, TimeProvider time) : IDeviceConnection
{
    private ModbusTcpClient? _client;

    public IPropertyAccess Bind(PropertyInfo property) => new ModbusProperty(this, ModbusVisitor.Read(property));

    public async Task ConnectAsync(CancellationToken cancellationToken)
    {
        if (_client is { IsOpen: true })
            return;
        try
        {
            _client = await ModbusTcpClient.ConnectAsync(endpoint.Host, endpoint.Port, endpoint.Timeout, time, cancellationToken);
        }
        catch (ModbusLinkException e)
        {
            throw new DeviceUnreachableException(e.Message, e);
        }
    }

    public ValueTask DisposeAsync()
    {
        _client?.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>Runs one request and sorts its failures into "not there" and "refused".</summary>
    internal async Task<T> TalkAsync<T>(Func<ModbusTcpClient, byte, Task<T>> request)
    {
        if (_client is null)
            throw new DeviceUnreachableException($"{endpoint.Host}:{endpoint.Port} is not connected");
        try
        {
            return await request(_client, endpoint.UnitId);
        }
        catch (ModbusLinkException e)
        {
            throw new DeviceUnreachableException(e.Message, e);
        }
        catch (ModbusPeerException e) when (e.Code is ModbusExceptionCode.GatewayPathUnavailable or ModbusExceptionCode.GatewayTargetFailedToRespond)
        {
            throw new DeviceUnreachableException(e.Message, e);
        }
        catch (ModbusPeerException e)
        {
            throw new DeviceRefusedException(e.Message, e);
        }
    }

    private sealed class ModbusProperty(ModbusConnection connection, ModbusVisitor visitor) : IPropertyAccess
    {
        public Task<string> ReadAsync(CancellationToken cancellationToken)
            => connection.TalkAsync(async (client, unit) =>
            {
                if (visitor.IsBit)
                {
                    var bits = await client.ReadBitsAsync(unit, visitor.Table == ModbusTable.DiscreteInputRegister, visitor.Address, 1, cancellationToken);
                    return bits[0] ? "true" : "false";
                }

                return visitor.Format.Decode(await ReadRegistersAsync(client, unit, cancellationToken));
            });

        public Task WriteAsync(string value, CancellationToken cancellationToken)
            => connection.TalkAsync(async (client, unit) =>
            {
                if (visitor.Format.Type == RegisterType.Bool)
                {
                    if (!RegisterFormat.TryParseBool(value, out var flag, out var wrong))
                        throw new DeviceRefusedException(wrong);
                    if (visitor.IsBit)
                        await client.WriteCoilsAsync(unit, visitor.Address, [flag], cancellationToken);
                    else
                    {
                        // The other bits of the register stay as they are.
                        var current = await ReadRegistersAsync(client, unit, cancellationToken);
                        await client.WriteRegistersAsync(unit, visitor.Address, [visitor.Format.EncodeBit(current[0], flag)], cancellationToken);
                    }

                    return true;
                }

                if (!visitor.Format.TryEncode(value, out var registers, out var error))
                    throw new DeviceRefusedException(error);
                await client.WriteRegistersAsync(unit, visitor.Address, registers, cancellationToken);
                return true;
            });

        private Task<ushort[]> ReadRegistersAsync(ModbusTcpClient client, byte unit, CancellationToken cancellationToken)
            => client.ReadRegistersAsync(
                unit, visitor.Table == ModbusTable.InputRegister, visitor.Address, (ushort)visitor.Format.RegisterCount, cancellationToken);
    }
}
