using Edge.Protocol.Modbus;

namespace Edge.Devices.Modbus;

/// <summary>One property of a slave.</summary>
internal sealed class ModbusProperty(ModbusConnection connection, ModbusVisitor visitor, bool verify) : IPropertyAccess
{
    public ModbusVisitor Visitor => visitor;

    /// <summary>Until then it is read alone: the slave refused to read it together with others, or at all.</summary>
    public long AloneUntilMs { get; set; }

    public async Task<string> ReadAsync(CancellationToken cancellationToken)
    {
        if (visitor.Table == ModbusTable.DeviceIdentification)
            return await connection.IdentifyAsync((byte)visitor.Address, cancellationToken);
        var span = visitor.ToSpan(0);
        var data = await ModbusConnection.TalkAsync(() => connection.Unit.Master.SendAsync(
            connection.Unit.Unit, new ModbusRequest(span.Table, span.Address, (ushort)span.Count, default), connection.Unit.Timing, cancellationToken));
        var reading = visitor.Decode(data.Span, 0);
        return reading.Value ?? throw new DeviceRefusedException(reading.Error);
    }

    public async Task WriteAsync(string value, CancellationToken cancellationToken)
    {
        if (visitor.Format.Type == RegisterType.Bool)
        {
            if (!RegisterFormat.TryParseBool(value, out var flag, out var wrong))
                throw new DeviceRefusedException(wrong);
            if (visitor.IsBit)
                await WriteAsync(() => connection.Unit.WriteCoilsAsync(visitor.Address, [flag], cancellationToken));
            else
                await WriteBitAsync(flag, cancellationToken);
            if (verify && await ReadAsync(cancellationToken) is var now && now != (flag ? "true" : "false"))
                throw new DeviceRefusedException($"the slave acknowledged it, but reads {now} afterwards");
            return;
        }

        if (!visitor.Format.TryEncode(value, out var registers, out var error))
            throw new DeviceRefusedException(error);
        await WriteAsync(() => connection.Unit.WriteRegistersAsync(visitor.Address, registers, cancellationToken));
        if (!verify)
            return;

        // Registers are compared, not texts: a value that was rounded into its register is well written.
        var back = await ModbusConnection.TalkAsync(() => connection.Unit.ReadRegistersAsync(false, visitor.Address, (ushort)registers.Length, cancellationToken));
        if (!back.AsSpan().SequenceEqual(registers))
            throw new DeviceRefusedException($"the slave acknowledged it, but reads {visitor.Format.Decode(back) ?? "no value"} afterwards");
    }

    // The other bits of the register stay as they are: by function 22 in one step, by reading and writing where the slave does not have it.
    private async Task WriteBitAsync(bool flag, CancellationToken cancellationToken)
    {
        if (connection.HasMaskWrite)
        {
            try
            {
                var mask = visitor.Format.EncodeBit(0, true);
                await connection.Unit.MaskWriteAsync(visitor.Address, (ushort)~mask, flag ? mask : (ushort)0, cancellationToken);
                return;
            }
            catch (ModbusPeerException e) when (e.Code == ModbusExceptionCode.IllegalFunction)
            {
                connection.LacksMaskWrite(isSure: true);
            }
            catch (Exception e) when (e is ModbusPeerException or ModbusLinkException)
            {
                // Some slaves are silent about functions that they do not have: the next try does without.
                if (e is ModbusLinkException { Fault: ModbusLinkFault.Silence })
                    connection.LacksMaskWrite(isSure: false);
                await ModbusConnection.TalkAsync<bool>(() => Task.FromException<bool>(e));
            }
        }

        var current = await ModbusConnection.TalkAsync(() => connection.Unit.ReadRegistersAsync(false, visitor.Address, 1, cancellationToken));
        await WriteAsync(() => connection.Unit.WriteRegistersAsync(visitor.Address, [visitor.Format.EncodeBit(current[0], flag)], cancellationToken));
    }

    private static Task<bool> WriteAsync(Func<Task> write)
        => ModbusConnection.TalkAsync(async () =>
        {
            await write();
            return true;
        });
}
