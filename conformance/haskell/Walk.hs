{-# LANGUAGE DisambiguateRecordFields #-}
{-# LANGUAGE DuplicateRecordFields #-}
{-# LANGUAGE OverloadedStrings #-}
{-# LANGUAGE RankNTypes #-}

-- | The conformance script with amazonka-lambda 2.0.
--
-- amazonka 2.0.0 reads no variable for the endpoint: 'pointAtServer' configures the service. Credentials and
-- region come from their usual variables. @CONFORMANCE_PACKAGE@ names the function's zip,
-- @CONFORMANCE_RUNTIME@ its runtime, @CONFORMANCE_FAULTS@ the errors to meet, separated by commas.
module Main (main) where

import qualified Amazonka
import qualified Amazonka.Core as Core
import qualified Amazonka.Data as Data
import qualified Amazonka.Env as Env
import qualified Amazonka.Env.Hooks as Hooks
import qualified Amazonka.Lambda as Lambda
import Control.Exception (SomeException, try)
import Control.Lens (has, (&), (?~), (^.))
import Control.Monad (forM_, unless)
import Control.Monad.Trans.Resource (runResourceT)
import Data.Aeson (Value (..), decodeStrict, encode, object, (.=))
import qualified Data.Aeson.Key as Key
import qualified Data.Aeson.KeyMap as KeyMap
import Data.ByteString (ByteString)
import qualified Data.ByteString as Bytes
import qualified Data.ByteString.Base64 as Base64
import qualified Data.ByteString.Char8 as Char8
import qualified Data.ByteString.Lazy.Char8 as Lazy
import Data.IORef (IORef, newIORef, readIORef, writeIORef)
import Data.Maybe (fromMaybe, isJust)
import Data.Text (Text)
import qualified Data.Text as Text
import qualified Data.Text.Encoding as Text
import qualified Network.HTTP.Client as Client
import qualified Network.HTTP.Types.Status as Status
import System.Environment (getEnv, lookupEnv)
import System.IO (BufferMode (LineBuffering), hSetBuffering, stdout)

-- | What a step tells; a failed one throws.
type Told = IO Text

name, arn, traceRoot :: Text
name = "conformance"
arn = "arn:aws:lambda:us-east-1:000000000000:function:" <> name
traceRoot = "1-5759e988-bd862e3fe1be46a994272793"

largestEventBytes :: Int
largestEventBytes = 6291456

-- | Lambda at the address in @AWS_ENDPOINT_URL_LAMBDA@.
pointAtServer :: IO Core.Service
pointAtServer = do
  address <- Client.parseRequest =<< getEnv "AWS_ENDPOINT_URL_LAMBDA"
  pure $
    Amazonka.setEndpoint
      (Client.secure address)
      (Client.host address)
      (Client.port address)
      Lambda.defaultService

main :: IO ()
main = do
  hSetBuffering stdout LineBuffering
  service <- pointAtServer
  discovered <- Amazonka.newEnv Amazonka.discover
  let env = Amazonka.configureService service discovered
      one = Amazonka.configureService (withRetries 0 service) discovered
      two = Amazonka.configureService (withRetries 1 service) discovered
      impatient = Amazonka.configureService (withRetries 0 service) {Core.timeout = Just 1} discovered
      call = Lambda.newInvoke name
      slow = call "{\"sleep\":3}"
  walk "create" (create env)
  walk "active" (active env)
  walk "publish" (publish env)
  walk "alias" (makeAlias env)
  walk "invoke" (invoked env "{\"a\":1}" (object ["a" .= (1 :: Int)]))
  walk "empty" (invoked env "" (object []))
  walk "event" (accepted env Lambda.InvocationType_Event)
  walk "dry-run" (accepted env Lambda.InvocationType_DryRun)
  walk "log-tail" (logTail env)
  walk "client-context" (clientContext env)
  walk "version" (versionOf env (call "" & Lambda.invoke_qualifier ?~ "1"))
  walk "alias-qualifier" (versionOf env (call "" & Lambda.invoke_qualifier ?~ "live"))
  walk "alias-in-name" (versionOf env (Lambda.newInvoke (name <> ":live") ""))
  walk "full-arn" (versionOf env (Lambda.newInvoke (arn <> ":live") ""))
  walk "partial-arn" (versionOf env (Lambda.newInvoke ("000000000000:function:" <> name <> ":live") ""))
  walk "function-error" (functionError env)
  walk "request-id" (requestId env)
  walk "hook" (hook env)
  walk "large" (large env)
  walk "not-found" (refused (has Lambda._ResourceNotFoundException) env (Lambda.newInvoke "nobody" ""))
  walk "bad-parameter" $
    refused
      (has Lambda._InvalidParameterValueException)
      env
      (Lambda.newInvoke (name <> ":live") "" & Lambda.invoke_qualifier ?~ "$LATEST")
  walk "bad-content" (refused (has Lambda._InvalidRequestContentException) env (call "{"))
  walk "conflict" (refused (has Lambda._ResourceConflictException) env (Lambda.newInvoke "broken" ""))
  -- AWS's error for this is in no model, so there is no prism for it.
  walk "too-large" (refused (const True) env (call (largeEvent (largestEventBytes + 1))))
  walk "throttled" (refused (has Lambda._TooManyRequestsException) env (Lambda.newInvoke "throttled" ""))
  walk "retries" (refused (has Lambda._TooManyRequestsException) two (Lambda.newInvoke "throttled-twice" ""))
  walk "timeout" (timedOut impatient slow)
  walk "unsigned" (unsigned env)
  faults <- maybe [] (Text.splitOn "," . Text.pack) <$> lookupEnv "CONFORMANCE_FAULTS"
  forM_ (filter (not . Text.null) faults) $ \fault -> walk ("fault:" <> fault) (faultMet one impatient fault)
  walk "delete" (delete env)

-- | The service with that many tries after the first.
withRetries :: Int -> Core.Service -> Core.Service
withRetries more service@Core.Service {Core.retry = policy} = service {Core.retry = fewer policy}
  where
    fewer Core.Exponential {Core.base = base, Core.growth = growth, Core.check = check} =
      Core.Exponential {Core.base = base, Core.growth = growth, Core.attempts = more, Core.check = check}

-- ------------------------------------------------------------ a function

create :: Amazonka.Env -> Told
create env = do
  package <- Bytes.readFile =<< getEnv "CONFORMANCE_PACKAGE"
  runtime <- Text.pack <$> getEnv "CONFORMANCE_RUNTIME"
  let code = Lambda.newFunctionCode & Lambda.functionCode_zipFile ?~ package
  made <-
    runResourceT . Amazonka.send env $
      Lambda.newCreateFunction name "arn:aws:iam::000000000000:role/conformance" code
        & Lambda.createFunction_runtime ?~ Lambda.Runtime' runtime
        & Lambda.createFunction_handler ?~ "index.handler"
        & Lambda.createFunction_timeout ?~ 30
  pure (stateOf made)

stateOf :: Lambda.FunctionConfiguration -> Text
stateOf found = maybe "" Lambda.fromState (found ^. Lambda.functionConfiguration_state)

active :: Amazonka.Env -> Told
active env = do
  let function = Lambda.newGetFunctionConfiguration name
  _ <- runResourceT (Amazonka.await env Lambda.newFunctionActive function)
  stateOf <$> runResourceT (Amazonka.send env function)

publish :: Amazonka.Env -> Told
publish env = do
  published <- runResourceT (Amazonka.send env (Lambda.newPublishVersion name))
  let version = fromMaybe "" (published ^. Lambda.functionConfiguration_version)
  _ <-
    runResourceT . Amazonka.await env Lambda.newFunctionActive $
      Lambda.newGetFunctionConfiguration name & Lambda.getFunctionConfiguration_qualifier ?~ version
  pure version

makeAlias :: Amazonka.Env -> Told
makeAlias env = do
  alias <- runResourceT (Amazonka.send env (Lambda.newCreateAlias name "live" "1"))
  expect (alias ^. Lambda.aliasConfiguration_aliasArn == Just (arn <> ":live")) alias
  let aliasName = fromMaybe "" (alias ^. Lambda.aliasConfiguration_name)
  pure (aliasName <> " " <> fromMaybe "" (alias ^. Lambda.aliasConfiguration_functionVersion))

-- | The answer has no status: that it is one of success is all that amazonka tells.
delete :: Amazonka.Env -> Told
delete env = "204" <$ runResourceT (Amazonka.send env (Lambda.newDeleteFunction name))

-- ------------------------------------------------------------ answers

-- | Invokes the function. An error of the function is an answer too: see 'functionError'.
send :: Amazonka.Env -> Lambda.Invoke -> IO Lambda.InvokeResponse
send env = runResourceT . Amazonka.send env

payload :: Lambda.InvokeResponse -> ByteString
payload answer = fromMaybe "" (answer ^. Lambda.invokeResponse_payload)

-- | A member of the function's answer.
member :: Text -> Lambda.InvokeResponse -> Value
member key answer = case decodeStrict (payload answer) of
  Just (Object told) -> fromMaybe Null (KeyMap.lookup (Key.fromText key) told)
  _ -> Null

status :: Lambda.InvokeResponse -> Text
status answer = Text.pack (show (answer ^. Lambda.invokeResponse_statusCode))

executed :: Lambda.InvokeResponse -> Text
executed answer = fromMaybe "" (answer ^. Lambda.invokeResponse_executedVersion)

invoked :: Amazonka.Env -> ByteString -> Value -> Told
invoked env event expected = do
  answer <- send env (Lambda.newInvoke name event)
  let failed = isJust (answer ^. Lambda.invokeResponse_functionError)
  expect (member "event" answer == expected && not failed) answer
  pure (status answer <> " " <> executed answer)

accepted :: Amazonka.Env -> Lambda.InvocationType -> Told
accepted env kind = do
  answer <- send env (Lambda.newInvoke name "{}" & Lambda.invoke_invocationType ?~ kind)
  expect (Bytes.null (payload answer)) answer
  pure (status answer)

logTail :: Amazonka.Env -> Told
logTail env = do
  answer <- send env (Lambda.newInvoke name "" & Lambda.invoke_logType ?~ Lambda.LogType_Tail)
  let text = Base64.decodeLenient (Text.encodeUtf8 (fromMaybe "" (answer ^. Lambda.invokeResponse_logResult)))
  expect ("conformance was here" `Bytes.isInfixOf` text && "REPORT RequestId" `Bytes.isInfixOf` text) text
  pure (status answer)

clientContext :: Amazonka.Env -> Told
clientContext env = do
  let context = Text.decodeUtf8 (Base64.encode "{\"custom\":{\"who\":\"amazonka\"}}")
  answer <- send env (Lambda.newInvoke name "" & Lambda.invoke_clientContext ?~ context)
  expect (member "custom" answer == object ["who" .= ("amazonka" :: Text)]) answer
  pure (status answer)

versionOf :: Amazonka.Env -> Lambda.Invoke -> Told
versionOf env call = do
  answer <- send env call
  expect (member "version" answer == String (executed answer)) answer
  pure (status answer <> " " <> executed answer)

functionError :: Amazonka.Env -> Told
functionError env = do
  answer <- send env (Lambda.newInvoke name "{\"fail\":\"boom\"}")
  expect (member "errorMessage" answer == String "boom") answer
  case (answer ^. Lambda.invokeResponse_functionError, member "errorType" answer) of
    (Just failed, String kind) -> pure (Text.unwords [status answer, failed, kind])
    _ -> fail (show answer)

-- | The answer has no request id: a hook reads it from the response.
requestId :: Amazonka.Env -> Told
requestId env = do
  seen <- newIORef Nothing
  answer <- send (watched seen env) (Lambda.newInvoke name "")
  told <- readIORef seen
  expect (fmap (String . Text.decodeUtf8) told == Just (member "request_id" answer)) answer
  pure (status answer)

watched :: IORef (Maybe ByteString) -> Amazonka.Env -> Amazonka.Env
watched seen env@Env.Env {Env.hooks = hooks} =
  env {Env.hooks = Hooks.clientResponseHook (Hooks.addHook_ (remember seen)) hooks}

remember :: IORef (Maybe ByteString) -> Hooks.Hook_ (request, Client.Response ())
remember seen _ (_, response) = writeIORef seen (lookup "x-amzn-RequestId" (Client.responseHeaders response))

-- | Adds a header to each request, after it was signed: the signature does not cover it.
hook :: Amazonka.Env -> Told
hook env = do
  answer <- send (traced env) (Lambda.newInvoke name "")
  case member "trace" answer of
    String trace | traceRoot `Text.isInfixOf` trace -> pure (status answer)
    other -> fail (show other)

traced :: Amazonka.Env -> Amazonka.Env
traced env@Env.Env {Env.hooks = hooks} =
  env {Env.hooks = Hooks.clientRequestHook (Hooks.addHook addTrace) hooks}

addTrace :: Hooks.Hook Client.Request
addTrace _ request = pure request {Client.requestHeaders = header : Client.requestHeaders request}
  where
    header = ("X-Amzn-Trace-Id", trace)
    trace = "Root=" <> Text.encodeUtf8 traceRoot <> ";Parent=53995c3f42cd8ad8;Sampled=1"

-- | An event of that many bytes.
largeEvent :: Int -> ByteString
largeEvent size = "{\"echo\":\"" <> Char8.replicate (size - 11) 'x' <> "\"}"

large :: Amazonka.Env -> Told
large env = do
  let event = largeEvent largestEventBytes
  answer <- send env (Lambda.newInvoke name event)
  expect (payload answer == Bytes.drop 8 (Bytes.take (Bytes.length event - 1) event)) (status answer)
  pure (status answer <> " " <> Text.pack (show (Bytes.length event)))

-- ------------------------------------------------------------ refusals

-- | Tells code and status of the error that a call ends with, if the prism fits and it has a message.
refused :: (Core.Error -> Bool) -> Amazonka.Env -> Lambda.Invoke -> Told
refused fits env call = do
  outcome <- runResourceT (Amazonka.sendEither env call)
  case outcome of
    Left failure | fits failure -> told failure
    other -> fail (show other)

-- | amazonka drops the end of a code: @Exception@ is put back.
told :: Core.Error -> Told
told (Core.ServiceError Core.ServiceError' {Core.status = answered, Core.code = code, Core.message = Just _}) =
  pure (Data.toText code <> "Exception " <> Text.pack (show (Status.statusCode answered)))
told other = fail (show other)

-- | The service's own limit of 70 s for an answer is replaced; its error is one of http-client.
timedOut :: Amazonka.Env -> Lambda.Invoke -> Told
timedOut env call = do
  outcome <- runResourceT (Amazonka.sendEither env call)
  case outcome of
    Left (Core.TransportError (Client.HttpExceptionRequest _ Client.ResponseTimeout)) -> pure "timeout"
    other -> fail (show other)

unsigned :: Amazonka.Env -> Told
unsigned env = do
  outcome <- runResourceT (Amazonka.sendUnsignedEither env (Lambda.newInvoke name ""))
  either told (pure . status) outcome

faultMet :: Amazonka.Env -> Amazonka.Env -> Text -> Told
faultMet one impatient fault
  | fault == "connection.stalled" = timedOut impatient call
  | fault == "connection.cut" = do
      outcome <- runResourceT (Amazonka.sendEither one call)
      case outcome of
        Left (Core.TransportError _) -> pure "connection"
        other -> fail (show other)
  | Just fits <- lookup fault prisms = refused fits one call
  | otherwise = ("untyped " <>) <$> refused (const True) one call
  where
    call = Lambda.newInvoke ("fault-" <> Text.replace "." "-" fault) ""

-- | Which error of the service is which prism.
prisms :: [(Text, Core.Error -> Bool)]
prisms =
  [ ("EC2AccessDeniedException", has Lambda._EC2AccessDeniedException),
    ("EC2ThrottledException", has Lambda._EC2ThrottledException),
    ("EC2UnexpectedException", has Lambda._EC2UnexpectedException),
    ("EFSIOException", has Lambda._EFSIOException),
    ("EFSMountConnectivityException", has Lambda._EFSMountConnectivityException),
    ("EFSMountFailureException", has Lambda._EFSMountFailureException),
    ("EFSMountTimeoutException", has Lambda._EFSMountTimeoutException),
    ("ENILimitReachedException", has Lambda._ENILimitReachedException),
    ("InvalidParameterValueException", has Lambda._InvalidParameterValueException),
    ("InvalidRequestContentException", has Lambda._InvalidRequestContentException),
    ("InvalidRuntimeException", has Lambda._InvalidRuntimeException),
    ("InvalidSecurityGroupIDException", has Lambda._InvalidSecurityGroupIDException),
    ("InvalidSubnetIDException", has Lambda._InvalidSubnetIDException),
    ("InvalidZipFileException", has Lambda._InvalidZipFileException),
    ("KMSAccessDeniedException", has Lambda._KMSAccessDeniedException),
    ("KMSDisabledException", has Lambda._KMSDisabledException),
    ("KMSInvalidStateException", has Lambda._KMSInvalidStateException),
    ("KMSNotFoundException", has Lambda._KMSNotFoundException),
    ("RequestTooLargeException", has Lambda._RequestTooLargeException),
    ("ResourceConflictException", has Lambda._ResourceConflictException),
    ("ResourceNotFoundException", has Lambda._ResourceNotFoundException),
    ("ResourceNotReadyException", has Lambda._ResourceNotReadyException),
    ("ServiceException", has Lambda._ServiceException),
    ("SnapStartException", has Lambda._SnapStartException),
    ("SnapStartNotReadyException", has Lambda._SnapStartNotReadyException),
    ("SnapStartTimeoutException", has Lambda._SnapStartTimeoutException),
    ("SubnetIPAddressLimitReachedException", has Lambda._SubnetIPAddressLimitReachedException),
    ("TooManyRequestsException", has Lambda._TooManyRequestsException),
    ("UnsupportedMediaTypeException", has Lambda._UnsupportedMediaTypeException)
  ]

-- ------------------------------------------------------------ the report

expect :: Show seen => Bool -> seen -> IO ()
expect condition seen = unless condition (fail ("unexpected: " <> show seen))

walk :: Text -> Told -> IO ()
walk step check = do
  outcome <- try check
  let (ok, detail) = case outcome of
        Right text -> (True, text)
        Left problem -> (False, Text.pack (show (problem :: SomeException)))
  Lazy.putStrLn . encode $
    object ["client" .= ("amazonka" :: Text), "step" .= step, "ok" .= ok, "detail" .= detail]
