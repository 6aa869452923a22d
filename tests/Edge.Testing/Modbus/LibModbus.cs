using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Edge.Testing.Modbus;

/// <summary>libmodbus (Debian's libmodbus5), the reference that Edge's Modbus is held against.</summary>
public static partial class LibModbus
{
    private const string Library = "libmodbus.so.5";

    /// <summary>The library can be loaded.</summary>
    public static bool Exists { get; } = NativeLibrary.TryLoad(Library, typeof(LibModbus).Assembly, null, out _);

    [LibraryImport(Library, EntryPoint = "modbus_new_tcp", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint NewTcp(string address, int port);

    [LibraryImport(Library, EntryPoint = "modbus_new_rtu", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial nint NewRtu(string device, int baud, byte parity, int dataBits, int stopBits);

    [LibraryImport(Library, EntryPoint = "modbus_free")]
    internal static partial void Free(nint context);

    [LibraryImport(Library, EntryPoint = "modbus_connect", SetLastError = true)]
    internal static partial int Connect(nint context);

    [LibraryImport(Library, EntryPoint = "modbus_close")]
    internal static partial void Close(nint context);

    [LibraryImport(Library, EntryPoint = "modbus_set_slave", SetLastError = true)]
    internal static partial int SetSlave(nint context, int slave);

    [LibraryImport(Library, EntryPoint = "modbus_set_response_timeout", SetLastError = true)]
    internal static partial int SetResponseTimeout(nint context, uint seconds, uint microseconds);

    [LibraryImport(Library, EntryPoint = "modbus_set_indication_timeout", SetLastError = true)]
    internal static partial int SetIndicationTimeout(nint context, uint seconds, uint microseconds);

    [LibraryImport(Library, EntryPoint = "modbus_set_socket", SetLastError = true)]
    internal static partial int SetSocket(nint context, int socket);

    [LibraryImport(Library, EntryPoint = "modbus_read_bits", SetLastError = true)]
    internal static unsafe partial int ReadBits(nint context, int address, int count, byte* values);

    [LibraryImport(Library, EntryPoint = "modbus_read_input_bits", SetLastError = true)]
    internal static unsafe partial int ReadInputBits(nint context, int address, int count, byte* values);

    [LibraryImport(Library, EntryPoint = "modbus_read_registers", SetLastError = true)]
    internal static unsafe partial int ReadRegisters(nint context, int address, int count, ushort* values);

    [LibraryImport(Library, EntryPoint = "modbus_read_input_registers", SetLastError = true)]
    internal static unsafe partial int ReadInputRegisters(nint context, int address, int count, ushort* values);

    [LibraryImport(Library, EntryPoint = "modbus_write_bit", SetLastError = true)]
    internal static partial int WriteBit(nint context, int address, int value);

    [LibraryImport(Library, EntryPoint = "modbus_write_register", SetLastError = true)]
    internal static partial int WriteRegister(nint context, int address, ushort value);

    [LibraryImport(Library, EntryPoint = "modbus_write_bits", SetLastError = true)]
    internal static unsafe partial int WriteBits(nint context, int address, int count, byte* values);

    [LibraryImport(Library, EntryPoint = "modbus_write_registers", SetLastError = true)]
    internal static unsafe partial int WriteRegisters(nint context, int address, int count, ushort* values);

    [LibraryImport(Library, EntryPoint = "modbus_mask_write_register", SetLastError = true)]
    internal static partial int MaskWriteRegister(nint context, int address, ushort and, ushort or);

    [LibraryImport(Library, EntryPoint = "modbus_write_and_read_registers", SetLastError = true)]
    internal static unsafe partial int WriteAndReadRegisters(nint context, int writeAddress, int writeCount, ushort* written, int readAddress, int readCount, ushort* read);

    [LibraryImport(Library, EntryPoint = "modbus_mapping_new", SetLastError = true)]
    internal static unsafe partial Mapping* MappingNew(int bits, int inputBits, int registers, int inputRegisters);

    [LibraryImport(Library, EntryPoint = "modbus_mapping_free")]
    internal static unsafe partial void MappingFree(Mapping* mapping);

    [LibraryImport(Library, EntryPoint = "modbus_tcp_listen", SetLastError = true)]
    internal static partial int TcpListen(nint context, int connections);

    [LibraryImport(Library, EntryPoint = "modbus_tcp_accept", SetLastError = true)]
    internal static unsafe partial int TcpAccept(nint context, int* socket);

    [LibraryImport(Library, EntryPoint = "modbus_receive", SetLastError = true)]
    internal static unsafe partial int Receive(nint context, byte* request);

    [LibraryImport(Library, EntryPoint = "modbus_reply", SetLastError = true)]
    internal static unsafe partial int Reply(nint context, byte* request, int length, Mapping* mapping);

    [LibraryImport(Library, EntryPoint = "modbus_strerror")]
    private static partial nint StrError(int error);

    internal static int Check(int result, string call)
        => result != -1 ? result : throw new IOException($"libmodbus {call}: {Marshal.PtrToStringUTF8(StrError(Marshal.GetLastPInvokeError()))}");

    /// <summary>modbus_mapping_t.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal unsafe struct Mapping
    {
        public int BitCount;
        public int BitStart;
        public int InputBitCount;
        public int InputBitStart;
        public int InputRegisterCount;
        public int InputRegisterStart;
        public int RegisterCount;
        public int RegisterStart;
        public byte* Bits;
        public byte* InputBits;
        public ushort* InputRegisters;
        public ushort* Registers;
    }
}

/// <summary>libmodbus as a master. Blocking; for one thread.</summary>
public sealed unsafe class LibModbusMaster : IDisposable
{
    private readonly nint _context;

    private LibModbusMaster(nint context, int slave)
    {
        _context = context;
        LibModbus.Check(LibModbus.SetSlave(context, slave), "set_slave");
        LibModbus.Check(LibModbus.SetResponseTimeout(context, 10, 0), "set_response_timeout");
        LibModbus.Check(LibModbus.Connect(context), "connect");
    }

    public static LibModbusMaster Tcp(int port, int slave) => new(LibModbus.NewTcp("127.0.0.1", port), slave);

    public static LibModbusMaster Rtu(string path, int slave) => new(LibModbus.NewRtu(path, 115200, (byte)'N', 8, 1), slave);

    public bool[] ReadBits(bool inputs, int address, int count)
    {
        var values = new byte[count];
        fixed (byte* start = values)
            LibModbus.Check(inputs ? LibModbus.ReadInputBits(_context, address, count, start) : LibModbus.ReadBits(_context, address, count, start), "read bits");
        return [.. values.Select(value => value != 0)];
    }

    public ushort[] ReadRegisters(bool inputs, int address, int count)
    {
        var values = new ushort[count];
        Read(inputs, address, values);
        return values;
    }

    /// <summary>Reads into the caller's memory: nothing else is measured with it.</summary>
    public void Read(bool inputs, int address, Span<ushort> values)
    {
        fixed (ushort* start = values)
        {
            LibModbus.Check(
                inputs ? LibModbus.ReadInputRegisters(_context, address, values.Length, start) : LibModbus.ReadRegisters(_context, address, values.Length, start), "read registers");
        }
    }

    public void WriteBit(int address, bool value) => LibModbus.Check(LibModbus.WriteBit(_context, address, value ? 1 : 0), "write_bit");

    public void WriteRegister(int address, ushort value) => LibModbus.Check(LibModbus.WriteRegister(_context, address, value), "write_register");

    public void WriteBits(int address, bool[] values)
    {
        fixed (byte* start = values.Select(value => value ? (byte)1 : (byte)0).ToArray())
            LibModbus.Check(LibModbus.WriteBits(_context, address, values.Length, start), "write_bits");
    }

    public void WriteRegisters(int address, ushort[] values)
    {
        fixed (ushort* start = values)
            LibModbus.Check(LibModbus.WriteRegisters(_context, address, values.Length, start), "write_registers");
    }

    public void MaskWrite(int address, ushort and, ushort or) => LibModbus.Check(LibModbus.MaskWriteRegister(_context, address, and, or), "mask_write_register");

    public ushort[] ReadWrite(int readAddress, int readCount, int writeAddress, ushort[] values)
    {
        var read = new ushort[readCount];
        fixed (ushort* from = values, to = read)
            LibModbus.Check(LibModbus.WriteAndReadRegisters(_context, writeAddress, values.Length, from, readAddress, readCount, to), "write_and_read_registers");
        return read;
    }

    public void Dispose()
    {
        LibModbus.Close(_context);
        LibModbus.Free(_context);
    }
}

/// <summary>libmodbus as a slave with 200 of each table, on a thread of its own; over TCP one connection after another.</summary>
public sealed unsafe class LibModbusSlave : IDisposable
{
    private const int TableSize = 200;
    private const int RequestMax = 260;
    private readonly nint _context;
    private readonly LibModbus.Mapping* _mapping;
    private readonly Socket? _listener;
    private readonly Thread _thread;
    private volatile bool _stop;

    private LibModbusSlave(nint context, bool tcp, int slave)
    {
        _context = context;
        _mapping = LibModbus.MappingNew(TableSize, TableSize, TableSize, TableSize);
        LibModbus.Check(LibModbus.SetSlave(context, slave), "set_slave");
        LibModbus.Check(LibModbus.SetIndicationTimeout(context, 0, 100_000), "set_indication_timeout");
        if (tcp)
        {
            _listener = new Socket(new SafeSocketHandle(LibModbus.Check(LibModbus.TcpListen(context, 4), "tcp_listen"), ownsHandle: true));
            Port = ((IPEndPoint)_listener.LocalEndPoint!).Port;
        }
        else
        {
            LibModbus.Check(LibModbus.Connect(context), "connect");
        }

        _thread = new Thread(Serve) { IsBackground = true, Name = "libmodbus slave" };
        _thread.Start();
    }

    public int Port { get; }

    public static LibModbusSlave Tcp(int slave) => new(LibModbus.NewTcp("127.0.0.1", 0), tcp: true, slave);

    public static LibModbusSlave Rtu(string path, int slave) => new(LibModbus.NewRtu(path, 115200, (byte)'N', 8, 1), tcp: false, slave);

    /// <summary>One of its holding registers. The slave's thread may be writing: read what was acknowledged.</summary>
    public ushort Register(int address) => Volatile.Read(ref _mapping->Registers[address]);

    public void SetRegister(int address, ushort value) => Volatile.Write(ref _mapping->Registers[address], value);

    public void SetInputRegister(int address, ushort value) => Volatile.Write(ref _mapping->InputRegisters[address], value);

    public void SetInputBit(int address, bool value) => Volatile.Write(ref _mapping->InputBits[address], value ? (byte)1 : (byte)0);

    public bool Bit(int address) => Volatile.Read(ref _mapping->Bits[address]) != 0;

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        _listener?.Dispose();
        LibModbus.Free(_context);
        LibModbus.MappingFree(_mapping);
    }

    private void Serve()
    {
        var request = stackalloc byte[RequestMax];
        while (!_stop)
        {
            if (_listener is not null)
            {
                if (!_listener.Poll(100_000, SelectMode.SelectRead))
                    continue;
                var listening = (int)_listener.Handle;
                if (LibModbus.TcpAccept(_context, &listening) < 0)
                    continue;
            }

            while (!_stop)
            {
                var length = LibModbus.Receive(_context, request);
                if (length > 0)
                    _ = LibModbus.Reply(_context, request, length, _mapping);
                else if (length < 0 && _listener is not null && Marshal.GetLastPInvokeError() is not (TimedOut or Interrupted))
                    break;
            }

            LibModbus.Close(_context);
        }
    }

    private const int TimedOut = 110;
    private const int Interrupted = 4;
}
